#include "src/base/json_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ErrorOf(absl::string_view text) {
  const auto lines = ParseJsonLines(text, "q.jsonl");
  EXPECT_EQ(lines.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(lines.status().message());
}

std::string Nested(int depth) {
  return "{\"a\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') +
         "}";
}

TEST(JsonLinesTest, CountsBlankLines) {
  const auto lines = ParseJsonLines("{\"a\":1}\n\n  \t\r\n{\"a\":2}\n", "f");
  ASSERT_TRUE(lines.ok()) << lines.status();
  ASSERT_EQ(lines->size(), 2u);
  EXPECT_EQ(lines->at(0).line_number, 1);
  EXPECT_EQ(lines->at(1).line_number, 4);
  EXPECT_EQ(lines->at(1).value["a"], 2);
}

TEST(JsonLinesTest, AcceptsByteOrderMarkWindowsEndingsAndNoLastNewline) {
  const auto lines = ParseJsonLines("\xEF\xBB\xBF{\"a\":1}\r\n{\"a\":2}", "f");
  ASSERT_TRUE(lines.ok()) << lines.status();
  EXPECT_EQ(lines->size(), 2u);
}

TEST(JsonLinesTest, NothingGivesNothing) {
  EXPECT_TRUE(ParseJsonLines("", "f").value().empty());
  EXPECT_TRUE(ParseJsonLines("\n\n", "f").value().empty());
}

TEST(JsonLinesTest, ErrorsNameFileAndLine) {
  EXPECT_THAT(ErrorOf("{\"a\":1}\n\n{\"a\":\n"), StartsWith("q.jsonl:3: "));
  EXPECT_THAT(ErrorOf("[1]"), HasSubstr("q.jsonl:1: expected a JSON object, "
                                        "found array"));
  EXPECT_THAT(ErrorOf("{}\n{\"a\":\"\xff\"}"),
              HasSubstr("q.jsonl:2: not UTF-8 at byte 7"));
  EXPECT_THAT(ErrorOf("{\"a\":1,\"a\":2}"),
              HasSubstr("key \"a\" appears twice"));
  EXPECT_THAT(ErrorOf("{} {}"), StartsWith("q.jsonl:1: not JSON"));
  EXPECT_THAT(ErrorOf("{\"a\":NaN}"), StartsWith("q.jsonl:1: not JSON"));
  EXPECT_THAT(ErrorOf("{\"a\":1e999}"), StartsWith("q.jsonl:1: not JSON"));
}

TEST(JsonLinesTest, SeesRepeatedKeysAtEveryDepth) {
  EXPECT_THAT(ErrorOf("{\"a\":{\"b\":1,\"b\":2}}"),
              HasSubstr("key \"b\" appears twice"));
  EXPECT_THAT(ErrorOf("{\"a\":[{\"b\":1,\"\\u0062\":2}]}"),
              HasSubstr("key \"b\" appears twice"));
  EXPECT_TRUE(ParseJsonLines("{\"a\":{\"a\":{\"a\":1}}}", "f").ok());
}

TEST(JsonLinesTest, RefusesNulInsteadOfStoppingThere) {
  const std::string text("{\"a\":1}\0{\"a\":2}", 15);
  EXPECT_THAT(ErrorOf(text), HasSubstr("q.jsonl:1: NUL at byte 8"));
}

TEST(JsonLinesTest, RefusesMoreThan64Levels) {
  EXPECT_TRUE(ParseJsonLines(Nested(64), "f").ok());
  EXPECT_THAT(ErrorOf(Nested(65)), HasSubstr("deeper than 64 levels"));
  EXPECT_THAT(ErrorOf(std::string(1'000'000, '[')),
              HasSubstr("deeper than 64 levels"));
  EXPECT_TRUE(
      ParseJsonLines("{\"a\":\"" + std::string(100, '[') + "\"}", "f").ok());
}

TEST(JsonLinesTest, ErrorsStayShortWhateverTheLine) {
  EXPECT_LT(ErrorOf("{\"a\":\"" + std::string(100'000, 'x')).size(), 1000u);
}

TEST(ParseJsonTest, AcceptsAnyValue) {
  EXPECT_EQ(ParseJson("[1, 2]", "f").value().size(), 2u);
  EXPECT_EQ(ParseJson("3", "f").value(), 3);
  EXPECT_EQ(ParseJson("", "f").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ToJsonLineTest, SortsKeysKeepsUtf8AndMakesNonFiniteNull) {
  const nlohmann::json value = {{"b", std::numeric_limits<double>::quiet_NaN()},
                                {"a", "\xC3\xA9\n"},
                                {"c", std::numeric_limits<double>::infinity()}};
  EXPECT_EQ(ToJsonLine(value),
            "{\"a\":\"\xC3\xA9\\n\",\"b\":null,\"c\":null}\n");
}

TEST(ToJsonLineTest, RoundTripsNumbersExactly) {
  const nlohmann::json value = {{"x", 0.1}, {"y", 1.0 / 3}, {"z", -1e-300}};
  EXPECT_EQ(ParseJson(ToJsonLine(value), "f").value(), value);
}

}  // namespace
}  // namespace dissonance
