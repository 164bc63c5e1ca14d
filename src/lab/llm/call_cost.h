// What calls cost, as files of jobs say it. Pure; thread safe.
//
//   statistics["calls"] = CallsJson(runner.totals(), client.endpoint());
#ifndef DISSONANCE_LAB_LLM_CALL_COST_H_
#define DISSONANCE_LAB_LLM_CALL_COST_H_

#include <cstdint>

#include "nlohmann/json.hpp"
#include "src/lab/llm/call_runner.h"
#include "src/lab/llm/chat_endpoint.h"

namespace dissonance {

// {answered, prompt_tokens, completion_tokens, models, cost_usd} with cost_from
// ("replies", "prices" or "replies and prices") or, where cost_usd is null,
// cost_reason. Replies that told no cost count by the endpoint's prices.
nlohmann::json CallsJson(const CallTotals& totals,
                         const ChatEndpoint& endpoint);

// Of calls not made yet, by the endpoint's prices: {cost_usd} with cost_from or
// cost_reason, likewise.
nlohmann::json EstimatedCostJson(int64_t prompt_tokens,
                                 int64_t completion_tokens,
                                 const ChatEndpoint& endpoint);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_LLM_CALL_COST_H_
