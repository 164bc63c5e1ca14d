#include "client/cli/columns.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dissonance::cli {
namespace {

using ::testing::ElementsAre;

TEST(ColumnsTest, BreaksLinesBetweenWords) {
  EXPECT_THAT(WrapLines("one two three", 7), ElementsAre("one two", "three"));
  EXPECT_THAT(WrapLines("one two", 3), ElementsAre("one", "two"));
  EXPECT_THAT(WrapLines("a\n\nb", 9), ElementsAre("a", "", "b"));
  EXPECT_THAT(WrapLines("", 9), ElementsAre(""));
}

TEST(ColumnsTest, BreaksLongWordsBetweenCharacters) {
  EXPECT_THAT(WrapLines("abcdef", 4), ElementsAre("abcd", "ef"));
  EXPECT_THAT(WrapLines("ééé", 2), ElementsAre("éé", "é"));
  EXPECT_THAT(WrapLines("重力重", 4), ElementsAre("重力", "重"));
  EXPECT_THAT(WrapLines(" abcdef", 4), ElementsAre(" abc", "def"));
}

TEST(ColumnsTest, PutsTextsSideBySide) {
  EXPECT_EQ(
      SideBySide({"base", "cubic"}, {"inverse square law.", "cube\n!"}, 23),
      "base         cubic\n"
      "----         -----\n"
      "inverse      cube\n"
      "square       !\n"
      "law.\n");
}

TEST(ColumnsTest, AlignsTitlesOfSeveralLines) {
  EXPECT_EQ(SideBySide({"base", "base + zero"}, {"a", "b"}, 13),
            "base    base\n"
            "        +\n"
            "        zero\n"
            "----    ----\n"
            "a       b\n");
}

TEST(ColumnsTest, TextsDoNotDriveTheTerminal) {
  EXPECT_EQ(SideBySide({"t"}, {"a\x1b[2J\tb"}, 40), "t\n-\na\\u001b[2J    b\n");
}

}  // namespace
}  // namespace dissonance::cli
