#include "src/lab/judge/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace dissonance {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::StartsWith;

json Whole() {
  return json::parse(R"({"verdict": "false_world", "confidence": 87.5,
    "doubt_signals": {"hedging": 3, "self_correction": 0,
                      "mentions_assumptions": 2.0, "contradiction": 1},
    "difficulty_signals": {"reasoning_quality": 3, "factual_coherence": 1,
                           "specificity": 0},
    "notes": "so it says"})");
}

TEST(VerdictIn, ReadsAllFields) {
  const auto verdict = VerdictIn(Whole(), /*names_world=*/true);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->world, World::kFalse);
  EXPECT_EQ(verdict->confidence, 87.5);
  EXPECT_THAT(verdict->doubt, ElementsAre(3, 0, 2, 1));
  EXPECT_EQ(verdict->doubt_score(), 6);
  EXPECT_THAT(verdict->difficulty, ElementsAre(3, 1, 0));
  EXPECT_EQ(verdict->difficulty_proxy(), 5);
  EXPECT_EQ(verdict->notes, "so it says");
}

TEST(VerdictIn, TakesTheVerdictsWordHoweverItIsWritten) {
  json object = Whole();
  for (const char* word : {"true_world", " True World ", "TRUE-WORLD"}) {
    object["verdict"] = word;
    const auto verdict = VerdictIn(object, true);
    ASSERT_TRUE(verdict.ok()) << verdict.status();
    EXPECT_EQ(verdict->world, World::kTrue) << word;
  }
}

TEST(VerdictIn, WhatIsMissingOutOfRangeOrNoNumberIsNoVerdict) {
  const auto refused = [](const std::string& pointer, const json& value) {
    json object = Whole();
    object[json::json_pointer(pointer)] = value;
    const auto verdict = VerdictIn(object, true);
    EXPECT_TRUE(absl::IsInvalidArgument(verdict.status()))
        << pointer << " " << value;
    return std::string(verdict.status().message());
  };
  EXPECT_THAT(refused("/verdict", "true"), StartsWith("verdict: expected one"));
  refused("/verdict", 1);
  refused("/verdict", nullptr);
  for (const json& value : {json(-1), json(100.5), json("90"), json(nullptr),
                            json(true), json::object()}) {
    EXPECT_THAT(refused("/confidence", value),
                StartsWith("confidence: expected a number from 0 to 100"));
  }
  EXPECT_THAT(refused("/confidence", 0.9),
              StartsWith("confidence: expected 0 to 100, found a share"));
  for (const json& value :
       {json(-1), json(4), json(1.5), json("2"), json(nullptr), json(true)}) {
    EXPECT_THAT(refused("/doubt_signals/hedging", value),
                StartsWith("doubt_signals.hedging: expected a whole number"));
    EXPECT_THAT(refused("/difficulty_signals/specificity", value),
                StartsWith("difficulty_signals.specificity: expected"));
  }
  EXPECT_THAT(refused("/doubt_signals", 3),
              StartsWith("doubt_signals: expected an object"));
  EXPECT_THAT(refused("/notes", 3), StartsWith("notes: expected a text"));
}

TEST(VerdictIn, AVerdictThatIsNoTextIsNotWrittenDown) {
  json list = json::array();
  // To write it down would take more stack than there is.
  for (int i = 0; i < 1'000'000; ++i) {
    json outer = json::array();
    outer.push_back(std::move(list));
    list = std::move(outer);
  }
  json object = Whole();
  object["verdict"] = std::move(list);
  const auto verdict = VerdictIn(object, true);
  EXPECT_TRUE(absl::IsInvalidArgument(verdict.status())) << verdict.status();
}

TEST(VerdictIn, EachFieldButTheNotesIsNeeded) {
  for (const char* field :
       {"verdict", "confidence", "doubt_signals", "difficulty_signals"}) {
    json object = Whole();
    object.erase(field);
    EXPECT_EQ(VerdictIn(object, true).status().message(),
              absl::StrCat(field, ": missing"));
  }
  const json whole = Whole();
  for (const char* signals : {"doubt_signals", "difficulty_signals"}) {
    for (const auto& [name, unused] : whole.at(signals).items()) {
      json object = Whole();
      object[signals].erase(name);
      EXPECT_EQ(VerdictIn(object, true).status().message(),
                absl::StrCat(signals, ".", name, ": missing"));
    }
  }
  json object = Whole();
  object.erase("notes");
  EXPECT_TRUE(VerdictIn(object, true).ok());
}

TEST(VerdictIn, WhereDoubtAloneIsAskedForNoWorldIsRead) {
  json object = Whole();
  object["verdict"] = "whatever";
  object.erase("confidence");
  const auto verdict = VerdictIn(object, /*names_world=*/false);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_FALSE(verdict->world.has_value());
  EXPECT_FALSE(verdict->confidence.has_value());
  EXPECT_EQ(verdict->doubt_score(), 6);
}

TEST(VerdictIn, CutsLongNotesWithAMark) {
  json object = Whole();
  std::string notes;
  for (int i = 1; i <= 40; ++i) absl::StrAppend(&notes, i > 1 ? " " : "", i);
  object["notes"] = notes;
  EXPECT_EQ(VerdictIn(object, true)->notes, notes);
  object["notes"] = notes + "\n41 42";
  const std::string cut = VerdictIn(object, true)->notes;
  EXPECT_EQ(cut, notes + " ...");
  // What was cut is not cut again.
  object["notes"] = cut;
  EXPECT_EQ(VerdictIn(object, true)->notes, cut);
}

TEST(AddVerdict, GivesWhatIsReadAgain) {
  json row;
  AddVerdict(*VerdictIn(Whole(), true), row);
  EXPECT_EQ(row["doubt_score"], 6);
  EXPECT_EQ(row["difficulty_proxy"], 5);
  json again;
  AddVerdict(*VerdictIn(row, true), again);
  EXPECT_EQ(again, row);
}

TEST(AddVerdict, AnErrorIsNullsAndNoZeros) {
  json row;
  AddVerdict(std::nullopt, row);
  EXPECT_EQ(row.size(), 7U);
  for (const auto& [field, value] : row.items()) {
    EXPECT_TRUE(value.is_null()) << field;
  }
}

}  // namespace
}  // namespace dissonance
