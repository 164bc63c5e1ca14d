#include "src/lab/llm/call_cost.h"

#include <cmath>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr double kPricedTokens = 1e6;
constexpr double kNanos = 1e9;  // in a dollar
constexpr char kNoPrices[] =
    "the endpoint's configuration does not give both prompt_price and "
    "completion_price";

std::optional<double> PriceOf(int64_t prompt_tokens, int64_t completion_tokens,
                              const ChatEndpoint& endpoint) {
  if (!endpoint.prompt_price.has_value() ||
      !endpoint.completion_price.has_value()) {
    return std::nullopt;
  }
  return (static_cast<double>(prompt_tokens) * *endpoint.prompt_price +
          static_cast<double>(completion_tokens) * *endpoint.completion_price) /
         kPricedTokens;
}

// Rounded, as a sum's last digit depends on the order of the replies.
json Cost(double dollars, const char* from) {
  return {{"cost_usd", std::round(dollars * kNanos) / kNanos},
          {"cost_from", from}};
}

json Unknown(const std::string& reason) {
  return {{"cost_usd", nullptr}, {"cost_reason", reason}};
}

json CostJson(const CallTotals& totals, const ChatEndpoint& endpoint) {
  const double told = totals.cost.value_or(0);
  if (totals.untold.call_count == 0) return Cost(told, "replies");
  const std::optional<double> price = PriceOf(
      totals.untold.prompt_tokens, totals.untold.completion_tokens, endpoint);
  if (price.has_value()) {
    return Cost(told + *price,
                totals.cost.has_value() ? "replies and prices" : "prices");
  }
  return Unknown(absl::StrCat(totals.untold.call_count, " of ",
                              totals.call_count, " replies told no cost, and ",
                              kNoPrices));
}

}  // namespace

json CallsJson(const CallTotals& totals, const ChatEndpoint& endpoint) {
  json calls = {{"answered", totals.call_count},
                {"prompt_tokens", totals.prompt_tokens},
                {"completion_tokens", totals.completion_tokens},
                {"models", totals.models}};
  calls.update(CostJson(totals, endpoint));
  return calls;
}

json EstimatedCostJson(int64_t prompt_tokens, int64_t completion_tokens,
                       const ChatEndpoint& endpoint) {
  const std::optional<double> price =
      PriceOf(prompt_tokens, completion_tokens, endpoint);
  return price.has_value() ? Cost(*price, "prices") : Unknown(kNoPrices);
}

}  // namespace dissonance
