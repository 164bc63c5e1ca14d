#include "src/lab/docgen/item_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dissonance {
namespace {

using testing::ElementsAre;

TEST(ItemsIn, FindsTheListHoweverItIsWrapped) {
  const char* list = R"({"items": ["a {b}", " c ", "", "C", "d\"}"]})";
  for (const std::string& reply :
       {std::string(list), "```json\n" + std::string(list) + "\n```",
        "Here {so} it is: " + std::string(list) + " Well?"}) {
    const auto items = ItemsIn(reply);
    ASSERT_TRUE(items.ok()) << items.status();
    EXPECT_THAT(*items, ElementsAre("a {b}", "c", "d\"}")) << reply;
  }
}

TEST(ItemsIn, RefusesWhatIsNone) {
  for (const char* reply : {"", "[\"a\"]", "{", "{\"items\": 3}",
                            "{\"items\": [1]}", "{\"facts\": []}"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ItemsIn(reply).status())) << reply;
  }
}

TEST(AddNewItems, KeepsTheOrderAndTheFirst) {
  std::vector<std::string> list = {"Letter to a friend"};
  EXPECT_EQ(AddNewItems({"letter  to a friend", "Diary", "diary"}, list), 1U);
  EXPECT_THAT(list, ElementsAre("Letter to a friend", "Diary"));
}

}  // namespace
}  // namespace dissonance
