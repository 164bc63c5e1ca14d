#include "src/lab/llm/call_cost.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dissonance {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const ChatEndpoint kPriced = {.prompt_price = 2.0, .completion_price = 10.0};
constexpr CallTotals::Untold kUntold = {
    .call_count = 3, .prompt_tokens = 1'000'000, .completion_tokens = 500'000};

TEST(CallsJson, RepliesThatToldTheirCostAreTakenAtTheirWord) {
  const json calls = CallsJson({.call_count = 2,
                                .prompt_tokens = 30,
                                .completion_tokens = 7,
                                .cost = 0.25,
                                .models = {{"m", 2}}},
                               kPriced);
  EXPECT_EQ(calls, json({{"answered", 2},
                         {"prompt_tokens", 30},
                         {"completion_tokens", 7},
                         {"models", {{"m", 2}}},
                         {"cost_usd", 0.25},
                         {"cost_from", "replies"}}));
}

TEST(CallsJson, TheOrderOfTheRepliesIsNotSeen) {
  const double forth = 0.1 + 0.2 + 0.3;
  const double back = 0.3 + 0.2 + 0.1;
  ASSERT_NE(forth, back);
  EXPECT_EQ(CallsJson({.call_count = 3, .cost = forth}, {}),
            CallsJson({.call_count = 3, .cost = back}, {}));
}

TEST(CallsJson, OthersCountByTheEndpointsPrices) {
  const json calls = CallsJson({.call_count = 3, .untold = kUntold}, kPriced);
  EXPECT_EQ(calls["cost_usd"], 7.0);
  EXPECT_EQ(calls["cost_from"], "prices");
  const json mixed =
      CallsJson({.call_count = 4, .cost = 0.5, .untold = kUntold}, kPriced);
  EXPECT_EQ(mixed["cost_usd"], 7.5);
  EXPECT_EQ(mixed["cost_from"], "replies and prices");
}

TEST(CallsJson, ACostThatIsKnownInPartIsNotTold) {
  const json calls = CallsJson(
      {.call_count = 4, .cost = 0.5, .untold = kUntold}, {.prompt_price = 2.0});
  EXPECT_TRUE(calls["cost_usd"].is_null());
  EXPECT_THAT(calls["cost_reason"].get<std::string>(),
              HasSubstr("3 of 4 replies told no cost, and the endpoint's"));
  EXPECT_FALSE(calls.contains("cost_from"));
}

TEST(EstimatedCostJson, NeedsBothPrices) {
  EXPECT_EQ(EstimatedCostJson(1'000'000, 100'000, kPriced)["cost_usd"], 3.0);
  const json unknown = EstimatedCostJson(1, 1, {.completion_price = 1.0});
  EXPECT_TRUE(unknown["cost_usd"].is_null());
  EXPECT_THAT(unknown["cost_reason"].get<std::string>(),
              HasSubstr("prompt_price"));
}

}  // namespace
}  // namespace dissonance
