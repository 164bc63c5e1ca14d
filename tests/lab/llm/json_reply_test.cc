#include "src/lab/llm/json_reply.h"

#include <gtest/gtest.h>

#include <string>

namespace dissonance {
namespace {

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

}  // namespace
}  // namespace dissonance
