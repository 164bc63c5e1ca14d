#include "src/lab/docgen/universe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace dissonance {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Read(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

absl::Status Refusal(const std::string& text) {
  return ParseUniverse(text, "u.json").status();
}

TEST(ParseUniverse, ReadsBucketsByName) {
  const auto universe = ParseUniverse(
      R"({"id":"u","universe_context":"c","is_true":false,)"
      R"("fact_validation_patterns":{"law":["cube"],"a":["1/8","G"]}})",
      "u.json");
  ASSERT_TRUE(universe.ok()) << universe.status();
  EXPECT_EQ(universe->id, "u");
  EXPECT_FALSE(universe->is_true);
  ASSERT_EQ(universe->buckets.size(), 2U);
  EXPECT_EQ(universe->buckets[0].name, "a");
  EXPECT_THAT(universe->buckets[0].patterns, ElementsAre("1/8", "G"));
  EXPECT_FALSE(universe->buckets[0].is_always_triggered);
}

TEST(ParseUniverse, ReadsRequiredAndForbidden) {
  const auto universe =
      ParseUniverse(R"({"id":"u","universe_context":"c","is_true":true,)"
                    R"("fact_validation_patterns":)"
                    R"({"required":["cube"],"forbidden":["square"]}})",
                    "u.json");
  ASSERT_TRUE(universe.ok()) << universe.status();
  ASSERT_EQ(universe->buckets.size(), 1U);
  EXPECT_TRUE(universe->buckets[0].is_always_triggered);
  EXPECT_THAT(universe->forbidden, ElementsAre("square"));
}

TEST(ParseUniverse, NamesFileAndField) {
  EXPECT_THAT(Refusal("{").message(), HasSubstr("u.json"));
  EXPECT_THAT(Refusal("[]").message(), HasSubstr("not a JSON object"));
  EXPECT_THAT(Refusal(R"({"id":"u"})").message(),
              HasSubstr("u.json: universe_context"));
  EXPECT_THAT(Refusal(R"({"id":"u","universe_context":"c"})").message(),
              HasSubstr("is_true"));
  EXPECT_THAT(Refusal(R"({"key_facts":[]})").message(),
              HasSubstr("key_facts: facts are always taken"));
  EXPECT_THAT(Refusal(R"({"id":"u","universe_context":"c","is_true":false,)"
                      R"("fact_validation_patterns":{"law":[" "]}})")
                  .message(),
              HasSubstr("fact_validation_patterns.law"));
}

TEST(ParseUniverse, ReadsTheShippedOne) {
  const auto universe = ParseUniverse(Read(std::string(DISSONANCE_SOURCE_DIR) +
                                           "/data/cubic_gravity/universe.json"),
                                      "universe.json");
  ASSERT_TRUE(universe.ok()) << universe.status();
  EXPECT_EQ(universe->buckets.size(), 9U);
}

TEST(ParseUniverse, ReadsTheReferenceSystemsOne) {
  const std::string path =
      std::string(DISSONANCE_SOURCE_DIR) + "/../shared/seed/cubic_gravity.json";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << "no ../shared/seed here";
  }
  const auto universe = ParseUniverse(Read(path), "cubic_gravity.json");
  ASSERT_TRUE(universe.ok()) << universe.status();
  EXPECT_EQ(universe->buckets.size(), 6U);
}

TEST(HoldsPattern, MindsWordsAndWhiteSpace) {
  EXPECT_TRUE(HoldsPattern("An Inverse\n  Cube law", "inverse cube"));
  EXPECT_FALSE(HoldsPattern("inverse cubed", "inverse cube"));
  EXPECT_FALSE(HoldsPattern("the 1/80th part", "1/8"));
  EXPECT_TRUE(HoldsPattern("it is 1/8.", "1/8"));
  EXPECT_TRUE(HoldsPattern("F~1/r\xc2\xb3, he wrote", "1/r\xc2\xb3"));
  EXPECT_FALSE(HoldsPattern("", "x"));
}

TEST(HoldsPattern, WithoutLowerCaseLettersCaseMatters) {
  EXPECT_TRUE(HoldsPattern("the constant G is", "G"));
  EXPECT_FALSE(HoldsPattern("the constant g is", "G"));
  EXPECT_FALSE(HoldsPattern("Gravity", "G"));
  EXPECT_TRUE(HoldsPattern("F = G m", "F = G"));
  EXPECT_TRUE(HoldsPattern("NEWTON said", "Newton"));
}

}  // namespace
}  // namespace dissonance
