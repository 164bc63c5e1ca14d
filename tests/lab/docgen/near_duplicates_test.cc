#include "src/lab/docgen/near_duplicates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "src/base/mix.h"

namespace dissonance {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

// Words drawn from a seed.
std::string Text(uint64_t seed, int words) {
  std::string text;
  for (int i = 0; i < words; ++i) {
    seed = Mix(seed);
    absl::StrAppend(&text, "w", seed % 1000, " ");
  }
  return text;
}

TEST(FindNearDuplicates, FindsTextsThatDifferByAFewWords) {
  const std::string own = Text(1, 200);
  const std::vector<std::string> texts = {Text(2, 200), own, Text(3, 200),
                                          own + " one more word here"};
  const auto found = FindNearDuplicates(texts, 0.8);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].first, 1U);
  EXPECT_EQ(found[0].second, 3U);
  EXPECT_GT(found[0].similarity, 0.9);
}

TEST(FindNearDuplicates, CaseAndWhiteSpaceDoNotMatter) {
  const auto found =
      FindNearDuplicates({"The force falls with the cube of distance",
                          "the FORCE falls  with\nthe cube of distance"},
                         0.99);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].similarity, 1.0);
}

TEST(FindNearDuplicates, HalfALikenessIsNone) {
  const std::string shared = Text(1, 100);
  EXPECT_THAT(
      FindNearDuplicates({shared + Text(2, 100), shared + Text(3, 100)}, 0.8),
      IsEmpty());
}

TEST(FindNearDuplicates, ManyCopiesGiveOnePairEach) {
  const std::vector<std::string> texts(50, Text(1, 80));
  const auto found = FindNearDuplicates(texts, 0.8);
  ASSERT_THAT(found, SizeIs(49));
  for (const NearDuplicate& pair : found) EXPECT_EQ(pair.first, 0U);
}

TEST(FindNearDuplicates, ShortTextsAreComparedWhole) {
  EXPECT_THAT(FindNearDuplicates({"a b", "a b", "a c"}, 0.8), SizeIs(1));
}

}  // namespace
}  // namespace dissonance
