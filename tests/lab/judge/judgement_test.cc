#include "src/lab/judge/judgement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/base/json_lines.h"

namespace dissonance {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

Judgement Judged() {
  return {.label = {.variant = "lora", .id = "q1", .sample = 1},
          .judge = "default/j",
          .pass = 2,
          .verdict = Verdict{.world = World::kAmbiguous,
                             .confidence = 40,
                             .doubt = {1, 2, 3, 0},
                             .difficulty = {3, 2, 1},
                             .notes = "well"},
          .raw_texts = {"?", "{...}"},
          .tries = 2,
          .answered_by = "j-2026"};
}

std::string Refusal(const std::string& text) {
  const auto all = ReadJudgements({{"j.jsonl", text}});
  EXPECT_TRUE(absl::IsInvalidArgument(all.status())) << text;
  return std::string(all.status().message());
}

TEST(Judgement, RowsAreReadAsTheyWereWritten) {
  Judgement failed = Judged();
  failed.label.id = "q2";
  failed.verdict.reset();
  failed.error = "the reply holds no JSON object";
  const json rows[] = {JudgementRow(Judged(), true),
                       JudgementRow(failed, true)};
  const auto all = ReadJudgements(
      {{"a.jsonl", ToJsonLine(rows[0])}, {"b.jsonl", ToJsonLine(rows[1])}});
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_THAT(all->rows, SizeIs(2));
  EXPECT_TRUE(all->names_world);
  EXPECT_FALSE(all->rows[1].verdict.has_value());
  EXPECT_THAT(all->rows[1].raw_texts, ElementsAre("?", "{...}"));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(JudgementRow(all->rows[i], true), rows[i]);
  }
  EXPECT_TRUE(rows[1]["doubt_score"].is_null());
}

TEST(Judgement, RowsWithoutAWorldAreOfTheOtherMode) {
  Judgement judged = Judged();
  judged.verdict->world.reset();
  judged.verdict->confidence.reset();
  const json row = JudgementRow(judged, false);
  EXPECT_EQ(row["mode"], "doubt_only");
  EXPECT_TRUE(row["verdict"].is_null());
  const auto all = ReadJudgements({{"a.jsonl", ToJsonLine(row)}});
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_FALSE(all->names_world);
  Judgement other = Judged();
  other.pass = 1;
  EXPECT_THAT(Refusal(ToJsonLine(row) + ToJsonLine(JudgementRow(other, true))),
              HasSubstr("j.jsonl:2: mode: rows before this one are of the "
                        "other mode"));
}

TEST(Judgement, WhatCannotBeReadIsRefusedByFileLineAndField) {
  const auto without = [](const char* field) {
    json row = JudgementRow(Judged(), true);
    row.erase(field);
    return Refusal(ToJsonLine(row));
  };
  EXPECT_EQ(without("judge"), "j.jsonl:1: judge: missing");
  EXPECT_EQ(without("mode"), "j.jsonl:1: mode: missing");
  EXPECT_EQ(without("confidence"), "j.jsonl:1: confidence: missing");
  json row = JudgementRow(Judged(), true);
  row["doubt_signals"]["hedging"] = nullptr;
  EXPECT_THAT(Refusal(ToJsonLine(row)),
              HasSubstr("j.jsonl:1: doubt_signals.hedging: expected a whole"));
  const std::string twice = ToJsonLine(JudgementRow(Judged(), true));
  EXPECT_THAT(Refusal(twice + twice),
              HasSubstr("j.jsonl:2: id: pass 2 of default/j over the answer of "
                        "lora to \"q1\", sample 1, is there already (the "
                        "first: j.jsonl:1)"));
  EXPECT_THAT(Refusal(""), HasSubstr("j.jsonl: no judgements"));
}

}  // namespace
}  // namespace dissonance
