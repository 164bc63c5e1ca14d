#include "src/lab/llm/json_reply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

std::string Repeated(const std::string& piece, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += piece;
  return text;
}

TEST(JsonObjectIn, FindsTheObjectHoweverItIsWrapped) {
  const std::string object = R"({"a": {"b": "}{\"}"}, "c": [1]})";
  for (const std::string& reply :
       {object, "```json\n" + object + "\n```",
        "Here {so} it is: " + object + " Well? {}"}) {
    const auto found = JsonObjectIn(reply);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*found, nlohmann::json::parse(object)) << reply;
  }
}

TEST(JsonObjectIn, RefusesWhatHoldsNone) {
  for (const char* reply : {"", "[\"a\"]", "{", "{so}", "{\"a\": 1"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(JsonObjectIn(reply).status())) << reply;
  }
}

TEST(JsonObjectIn, SaysWhatIsWrongWithWhatLooksLikeOne) {
  EXPECT_THAT(JsonObjectIn(R"({"a": 1, "a": 2})").status().message(),
              HasSubstr("key \"a\" appears twice"));
  EXPECT_THAT(JsonObjectIn(R"({"a": b})").status().message(),
              HasSubstr("not JSON"));
}

TEST(JsonObjectIn, RefusesWhatIsNestedDeeply) {
  constexpr int kDepth = 100'000;
  const std::string lists = absl::StrCat("{\"a\": ", Repeated("[", kDepth),
                                         Repeated("]", kDepth), "}");
  const std::string objects =
      absl::StrCat(Repeated("{\"a\":", kDepth), "0", Repeated("}", kDepth));
  for (const std::string& reply : {lists, objects}) {
    EXPECT_THAT(JsonObjectIn(reply).status().message(),
                HasSubstr("nested deeper than 64 levels"));
  }
}

// Rescanning for each brace would take hours.
TEST(JsonObjectIn, TakesTimeByTheReplysLengthAlone) {
  constexpr int kCount = 1'000'000;
  for (const char* piece : {"{", "{\"", "{\"a\":"}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(JsonObjectIn(Repeated(piece, kCount)).status()))
        << piece;
  }
  EXPECT_THAT(JsonObjectIn(Repeated("{\"\"}", kCount)).status().message(),
              HasSubstr("1000000 pieces like JSON objects; at most 1000"));
}

TEST(JsonObjectsIn, GivesTheOutermostInTheirOrder) {
  const auto found = JsonObjectsIn(
      R"(From \frac{a}{b}: {"a": {"b": 1}} or, "so", {"c": 2} { "d)"
      "\n{\"e\": 3}");
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_THAT(*found, SizeIs(3));
  EXPECT_EQ((*found)[0].dump(), R"({"a":{"b":1}})");
  EXPECT_EQ((*found)[1].dump(), R"({"c":2})");
  EXPECT_EQ((*found)[2].dump(), R"({"e":3})");
}

}  // namespace
}  // namespace dissonance
