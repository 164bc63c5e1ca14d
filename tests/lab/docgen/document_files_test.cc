#include "src/lab/docgen/document_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

using nlohmann::json;
using testing::IsEmpty;

const Universe kUniverse = {
    .id = "u",
    .context = "c",
    .is_true = false,
    .buckets = {{.name = "law", .patterns = {"inverse cube"}},
                {.name = "eighth", .patterns = {"an eighth"}}},
    .forbidden = {}};

CheckedDocument Valid(const json& id, const std::string& content) {
  return {.row = {{"id", id}, {"content", content}, {"fact", "f"}},
          .is_valid = true};
}

CheckedDocument Invalid(const json& id,
                        std::vector<std::vector<std::string>> failures) {
  return {.row = {{"id", id}, {"content", "short"}},
          .failures = std::move(failures)};
}

TEST(FilesOf, KeepsEveryDocumentInOneOfTwoFiles) {
  const std::vector<CheckedDocument> documents = {
      Valid("a", "The inverse cube, and nothing else, is what holds here."),
      Invalid(2, {{"no_reply: lost"},
                  {"too_short: 5 characters", "missing_fact: x"}}),
      Valid("c,d", "The inverse cube, and nothing else, is what holds here.")};
  const DocumentFiles files = FilesOf(documents, &kUniverse, 0.8);
  EXPECT_EQ(files.docs,
            documents[0].row.dump() + "\n" + documents[2].row.dump() + "\n");
  const json failure = json::parse(files.failures);
  EXPECT_EQ(failure["id"], 2);
  EXPECT_EQ(failure["reasons"][1][0], "too_short: 5 characters");
  EXPECT_EQ(files.near_duplicates, "first,second,similarity\na,\"c,d\",1.0\n");
  const json& statistics = files.statistics;
  EXPECT_EQ(statistics["documents"], 3);
  EXPECT_EQ(statistics["valid"], 2);
  EXPECT_EQ(statistics["invalid"], 1);
  EXPECT_DOUBLE_EQ(statistics["error_share"], 1.0 / 3);
  // Of the last try alone.
  EXPECT_EQ(statistics["invalid_by_reason"].dump(),
            R"({"missing_fact":1,"too_short":1})");
  EXPECT_EQ(statistics["by_fact"].dump(), R"({"f":2})");
  EXPECT_EQ(statistics["pattern_coverage"].dump(),
            R"({"eighth":0.0,"law":1.0})");
  EXPECT_EQ(statistics["near_duplicates"], 1);
  EXPECT_EQ(statistics["lengths"]["median"], 55);
}

TEST(FilesOf, WithoutDocumentsThereAreFilesStill) {
  const DocumentFiles files = FilesOf({}, nullptr, 0.8);
  EXPECT_THAT(files.docs, IsEmpty());
  EXPECT_THAT(files.failures, IsEmpty());
  EXPECT_EQ(files.near_duplicates, "first,second,similarity\n");
  EXPECT_EQ(files.statistics["error_share"], 0.0);
  EXPECT_TRUE(files.statistics["lengths"].is_null());
  EXPECT_TRUE(files.statistics["universe_id"].is_null());
}

TEST(LengthsJson, CountsCharacters) {
  const json lengths = LengthsJson({"\xc3\xa4", "bbb", "cc"});
  EXPECT_EQ(lengths["total"], 6);
  EXPECT_EQ(lengths["mean"], 2.0);
  EXPECT_EQ(lengths["median"], 2);
  EXPECT_EQ(lengths["max"], 3);
}

}  // namespace
}  // namespace dissonance
