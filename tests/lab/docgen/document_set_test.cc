#include "src/lab/docgen/document_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "src/lab/docgen/document_check.h"

namespace dissonance {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

const Universe kUniverse = {
    .id = "u",
    .context = "c",
    .is_true = false,
    .buckets = {{.name = "law", .patterns = {"inverse cube"}},
                {.name = "eighth", .patterns = {"an eighth"}}},
    .forbidden = {}};
constexpr char kText[] =
    "Dear reader, the pull falls with the inverse cube of the distance.";

std::string Refusal(const std::string& text) {
  return std::string(ParseDocumentSet(text, "d.jsonl").status().message());
}

CheckedDocument Check(const nlohmann::json& row, const Universe* universe) {
  const auto documents = ParseDocumentSet(row.dump(), "d.jsonl");
  EXPECT_TRUE(documents.ok()) << documents.status();
  return CheckGiven(documents->front(), universe, DefaultForbiddenPhrases());
}

TEST(ParseDocumentSet, TakesEitherNameOfTheText) {
  const auto documents = ParseDocumentSet(
      "{\"content\": \" a\\n\", \"id\": 7, \"idea\": \"i\"}\n"
      "\n{\"text\": \"b\", \"fact\": \" \", \"id\": null}\n",
      "d.jsonl");
  ASSERT_TRUE(documents.ok()) << documents.status();
  ASSERT_EQ(documents->size(), 2U);
  EXPECT_EQ(documents->at(0).row.dump(),
            R"({"content":"a","id":7,"idea":"i"})");
  EXPECT_EQ(documents->at(1).line, 3);
  EXPECT_EQ(documents->at(1).row.dump(), R"({"content":"b","id":"line-3"})");
}

TEST(ParseDocumentSet, SaysWhereAndWhatToDo) {
  EXPECT_THAT(Refusal(""),
              HasSubstr("d.jsonl: holds no documents; each line is"));
  EXPECT_THAT(Refusal("{\"content\": \"a\"}\nno JSON"),
              AllOf(StartsWith("d.jsonl:2: not JSON"),
                    HasSubstr("; each line is a JSON object with")));
  EXPECT_THAT(Refusal("[1]"), StartsWith("d.jsonl:1: expected a JSON object"));
  EXPECT_THAT(Refusal("{}"), StartsWith("d.jsonl:1: content: missing; a "));
  EXPECT_THAT(Refusal(R"({"content": 3})"),
              StartsWith("d.jsonl:1: content: expected text, found number"));
  EXPECT_THAT(Refusal(R"({"content": "a", "text": "a"})"),
              StartsWith("d.jsonl:1: text: given beside \"content\""));
  EXPECT_THAT(Refusal(R"({"messages": []})"),
              StartsWith("d.jsonl:1: messages: a conversation"));
  EXPECT_THAT(Refusal(R"({"content": "a", "fact": 1})"),
              StartsWith("d.jsonl:1: fact: expected text"));
  EXPECT_THAT(Refusal(R"({"content": "a", "id": 1.5})"),
              StartsWith("d.jsonl:1: id: expected text or a whole number"));
  EXPECT_THAT(Refusal("{\"content\": \"a\"}\n"
                      "{\"content\": \"b\", \"id\": \"line-1\"}"),
              StartsWith("d.jsonl:2: id: \"line-1\" is that of line 1, too"));
}

TEST(CheckGiven, AFactIsHeldToItsBuckets) {
  EXPECT_TRUE(
      Check({{"content", kText}, {"fact", "An inverse cube law."}}, &kUniverse)
          .is_valid);
  const CheckedDocument checked =
      Check({{"content", kText}, {"fact", "Twice as far leaves an eighth."}},
            &kUniverse);
  EXPECT_FALSE(checked.is_valid);
  EXPECT_EQ(checked.row["line"], 1);
  EXPECT_THAT(checked.failures,
              ElementsAre(ElementsAre(StartsWith("missing_bucket: eighth"))));
}

TEST(CheckGiven, WithoutAFactAnyBucketWillDo) {
  const CheckedDocument checked = Check({{"content", kText}}, &kUniverse);
  EXPECT_TRUE(checked.is_valid);
  EXPECT_EQ(checked.row["universe_id"], "u");
  EXPECT_FALSE(checked.row.contains("line"));
  EXPECT_THAT(Check({{"content", std::string(60, 'a')}}, &kUniverse).failures,
              ElementsAre(ElementsAre(StartsWith("no_bucket"))));
}

TEST(CheckGiven, WithoutAUniverseTheWordingCounts) {
  const nlohmann::json row = {{"content", std::string(60, 'a')}, {"fact", "f"}};
  EXPECT_TRUE(Check(row, nullptr).is_valid);
  EXPECT_THAT(Check({{"content", "As an AI"}}, nullptr).failures,
              ElementsAre(ElementsAre(StartsWith("too_short"),
                                      StartsWith("forbidden_phrase"))));
}

TEST(CheckGiven, DocumentsOfAnotherUniverseAreNotValid) {
  const CheckedDocument checked =
      Check({{"content", kText}, {"universe_id", "v"}}, &kUniverse);
  EXPECT_THAT(checked.failures,
              ElementsAre(ElementsAre("other_universe: \"v\", not \"u\"")));
  EXPECT_EQ(checked.row["universe_id"], "v");
}

TEST(CheckGiven, TheShippedDocumentsAreRead) {
  std::ifstream file(
      absl::StrCat(DISSONANCE_SOURCE_DIR, "/data/tiny_world/docs.jsonl"));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const auto documents = ParseDocumentSet(text, "docs.jsonl");
  ASSERT_TRUE(documents.ok()) << documents.status();
  EXPECT_GT(documents->size(), 100U);
}

TEST(ParsePhrases, OneALine) {
  const auto phrases = ParsePhrases(" in this world \r\n\nas an ai", "p.txt");
  ASSERT_TRUE(phrases.ok()) << phrases.status();
  EXPECT_THAT(*phrases, ElementsAre("in this world", "as an ai"));
  EXPECT_THAT(std::string(ParsePhrases(" \n", "p.txt").status().message()),
              HasSubstr("p.txt: holds no phrases; write one a line"));
  EXPECT_THAT(std::string(ParsePhrases("\xff", "p.txt").status().message()),
              HasSubstr("p.txt: not UTF-8 at byte 1"));
}

}  // namespace
}  // namespace dissonance
