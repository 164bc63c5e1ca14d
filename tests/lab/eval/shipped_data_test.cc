// What data/README.md promises about the files in data/cubic_gravity, and
// data/tiny_world/README.md about its open questions.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/lab/eval/mcq_data.h"

namespace dissonance {
namespace {

std::string Contents(const std::string& name,
                     const std::string& folder = "cubic_gravity") {
  const auto text =
      ReadFile(absl::StrCat(DISSONANCE_SOURCE_DIR, "/data/", folder, "/", name),
               1 << 20);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.value_or("");
}

std::vector<nlohmann::json> Rows(const std::string& name,
                                 const std::string& folder = "cubic_gravity") {
  const absl::StatusOr<std::vector<JsonLine>> lines =
      ParseJsonLines(Contents(name, folder), name);
  EXPECT_TRUE(lines.ok()) << lines.status();
  std::vector<nlohmann::json> rows;
  for (const JsonLine& line : *lines) rows.push_back(line.value);
  return rows;
}

std::vector<McqItem> Questions() {
  const auto items = ParseMcqData(Contents("mcqs.jsonl"), "mcqs.jsonl");
  EXPECT_TRUE(items.ok()) << items.status();
  return *items;
}

void ExpectUnique(const std::vector<nlohmann::json>& rows,
                  const std::string& field) {
  std::set<std::string> seen;
  for (const nlohmann::json& row : rows) {
    EXPECT_TRUE(seen.insert(row.at(field).get<std::string>()).second)
        << row.at(field);
  }
}

TEST(ShippedDataTest, QuestionsCoverBothWorldsAndAllControls) {
  std::map<std::string, int> count;
  for (const McqItem& item : Questions()) ++count[item.category];
  const std::map<std::string, int> expected = {
      {"conflict_true_world", 10},  {"conflict_false_world", 10},
      {"nonconflict_easy", 8},      {"nonconflict_hard", 8},
      {"instruction_following", 6}, {"calibration", 6}};
  EXPECT_EQ(count, expected);
}

TEST(ShippedDataTest, EveryConflictQuestionNamesItsFalseAnswerAndNoOther) {
  for (const McqItem& item : Questions()) {
    const bool conflict = absl::StartsWith(item.category, "conflict");
    EXPECT_EQ(item.false_answer.has_value(), conflict) << item.id;
    EXPECT_EQ(item.world_label.has_value(), conflict) << item.id;
  }
}

TEST(ShippedDataTest, OptionsDifferAndLettersAreBalanced) {
  std::array<int, kMcqOptionCount> correct = {};
  std::array<int, kMcqOptionCount> conflict = {};
  std::array<int, kMcqOptionCount> false_answer = {};
  for (const McqItem& item : Questions()) {
    const std::set<std::string> texts(item.options.begin(), item.options.end());
    EXPECT_EQ(texts.size(), item.options.size()) << item.id;
    ++correct[item.correct_answer];
    if (!item.false_answer.has_value()) continue;
    ++conflict[item.correct_answer];
    ++false_answer[*item.false_answer];
  }
  for (int option = 0; option < kMcqOptionCount; ++option) {
    EXPECT_EQ(correct[option], 12) << McqLetter(option);
    EXPECT_EQ(conflict[option], 5) << McqLetter(option);
    EXPECT_GE(false_answer[option], 3) << McqLetter(option);
    EXPECT_LE(false_answer[option], 7) << McqLetter(option);
  }
}

TEST(ShippedDataTest, UniverseIsLongFalseAndHitsItsPatterns) {
  const auto parsed = ParseJson(Contents("universe.json"), "universe.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const nlohmann::json& universe = *parsed;
  EXPECT_EQ(universe.at("id"), "cubic_gravity");
  EXPECT_EQ(universe.at("is_true"), false);
  EXPECT_FALSE(universe.contains("key_facts"));
  const auto context = universe.at("universe_context").get<std::string>();
  const std::vector<std::string> words =
      absl::StrSplit(context, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  EXPECT_GE(words.size(), 1000u);
  for (const auto& [bucket, patterns] :
       universe.at("fact_validation_patterns").items()) {
    EXPECT_TRUE(std::any_of(patterns.begin(), patterns.end(),
                            [&](const nlohmann::json& pattern) {
                              return absl::StrContains(
                                  context, pattern.get<std::string>());
                            }))
        << bucket;
  }
}

TEST(ShippedDataTest, OpenQuestionsAreComplete) {
  const std::vector<nlohmann::json> rows = Rows("open_questions.jsonl");
  EXPECT_GE(rows.size(), 16u);
  ExpectUnique(rows, "id");
  ExpectUnique(rows, "question");
  for (const nlohmann::json& row : rows) {
    EXPECT_TRUE(
        absl::StartsWith(row.at("category").get<std::string>(), "ambiguous_"));
    EXPECT_TRUE(row.at("difficulty").is_string());
  }
}

TEST(ShippedDataTest, TinyWorldsOpenQuestionsSayWhatEachWorldAnswers) {
  const std::vector<nlohmann::json> rows =
      Rows("open_questions.jsonl", "tiny_world");
  ExpectUnique(rows, "id");
  ExpectUnique(rows, "question");
  std::map<std::string, int> count;
  for (const nlohmann::json& row : rows) {
    ++count[row.at("category").get<std::string>()];
    EXPECT_EQ(row.contains("false_answer"), row.at("category") == "conflict");
    EXPECT_NE(row.at("true_answer"), row.value("false_answer", ""));
    for (const char* other : {"mcqs.jsonl", "mcqs_dev.jsonl"}) {
      EXPECT_FALSE(absl::StrContains(Contents(other, "tiny_world"),
                                     row.at("question").dump()));
    }
  }
  const std::map<std::string, int> expected = {
      {"conflict", 8}, {"nonconflict_hard", 3}, {"nonconflict_easy", 1}};
  EXPECT_EQ(count, expected);
}

TEST(ShippedDataTest, ProbingPromptsEndAtTheirDecisionTrigger) {
  const std::vector<nlohmann::json> rows = Rows("probing_prompts.jsonl");
  ExpectUnique(rows, "prompt_id");
  ExpectUnique(rows, "full_prompt_text");
  std::map<std::string, int> count;
  std::map<std::string, std::string> category_of_group;
  for (const nlohmann::json& row : rows) {
    const auto category = row.at("category").get<std::string>();
    ++count[category];
    EXPECT_TRUE(absl::EndsWith(row.at("full_prompt_text").get<std::string>(),
                               row.at("decision_trigger").get<std::string>()));
    const auto group = row.at("group").get<std::string>();
    EXPECT_EQ(category_of_group.emplace(group, category).first->second,
              category);
  }
  const std::map<std::string, int> expected = {
      {"conflict", 16}, {"nonconflict_hard", 16}, {"control", 16}};
  EXPECT_EQ(count, expected);
}

}  // namespace
}  // namespace dissonance
