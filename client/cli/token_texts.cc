#include "client/cli/token_texts.h"

#include <utility>

#include "client/cli/proto_json.h"

namespace dissonance::cli {

TokenTexts::TokenTexts(Connection& connection, std::string model)
    : connection_(connection), model_(std::move(model)) {}

const nlohmann::json& TokenTexts::Of(int32_t token) {
  const auto [entry, is_new] = known_.try_emplace(token);
  if (!is_new) return entry->second;
  v1::DetokenizeRequest request;
  request.set_model(model_);
  request.add_ids(token);
  const absl::StatusOr<v1::DetokenizeResponse> response =
      connection_.CallAgain(&v1::Inference::Stub::Detokenize, request);
  if (response.ok()) entry->second = response->text();
  return entry->second;
}

std::string TokenTexts::Quoted(int32_t token) {
  const nlohmann::json& text = Of(token);
  return text.is_null() ? "-" : text.dump();
}

nlohmann::json TokenTexts::TopJson(
    const google::protobuf::RepeatedPtrField<v1::TokenLogprob>& top) {
  nlohmann::json out = nlohmann::json::array();
  for (const v1::TokenLogprob& each : top) {
    out.push_back({{"token_id", each.token_id()},
                   {"text", Of(each.token_id())},
                   {"logprob", FiniteOrNull(each.logprob())}});
  }
  return out;
}

}  // namespace dissonance::cli
