#include "src/lab/docgen/list_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace dissonance {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ChatRequest Ask(const std::vector<std::string>& known, int64_t attempt) {
  return {.model = "m",
          .messages = {{"user", absl::StrJoin(known, ",")}},
          .attempt = attempt};
}

ChatReply Says(const std::string& text) { return {.content = text}; }

TEST(ListTask, AsksWithWhatIsThereUntilItIsFull) {
  ListTask task(Ask, {.wanted = 3, .rounds = 5});
  EXPECT_EQ(task.Next()->messages[0].content, "");
  task.Take(Says(R"({"items":["a","b"]})"));
  EXPECT_EQ(task.Next()->messages[0].content, "a,b");
  EXPECT_EQ(task.Next()->attempt, 1);
  task.Take(Says(R"({"items":["B","c","d"]})"));
  EXPECT_EQ(task.Next(), std::nullopt);
  EXPECT_TRUE(task.is_full());
  EXPECT_THAT(task.items(), ElementsAre("a", "b", "c", "d"));
}

TEST(ListTask, OrEachReplyStandsAlone) {
  ListTask task(Ask, {.wanted = 2, .rounds = 3, .accumulates = false});
  task.Take(Says(R"({"items":["a"]})"));
  ASSERT_NE(task.Next(), std::nullopt);
  task.Take(Says(R"({"items":["b","c"]})"));
  EXPECT_EQ(task.Next(), std::nullopt);
  EXPECT_THAT(task.items(), ElementsAre("b", "c"));
}

TEST(ListTask, GivesUpAfterItsRounds) {
  ListTask task(Ask, {.wanted = 9, .rounds = 2});
  task.Take(Says(R"({"items":["a"]})"));
  task.Take(Says(R"({"items":["b"]})"));
  EXPECT_EQ(task.Next(), std::nullopt);
  EXPECT_FALSE(task.is_full());
  EXPECT_THAT(task.trouble().message(), HasSubstr("2 of 9 after 2 rounds"));
}

TEST(ListTask, FruitlessTriesAreBoundedAndNeverAlike) {
  ListTask task(Ask, {.wanted = 2, .rounds = 5, .retries = 2});
  for (const auto& reply :
       {absl::StatusOr<ChatReply>(Says("no list")),
        absl::StatusOr<ChatReply>(absl::UnavailableError("lost"))}) {
    task.Take(reply);
  }
  EXPECT_EQ(task.Next()->attempt, 2);
  task.Take(Says(R"({"items":["a"]})"));
  EXPECT_NE(task.Next(), std::nullopt);
  for (int i = 0; i < 3; ++i) task.Take(Says(R"({"items":["A"]})"));
  EXPECT_EQ(task.Next(), std::nullopt);
  EXPECT_THAT(task.trouble().message(), HasSubstr("nothing new"));
}

}  // namespace
}  // namespace dissonance
