#include "client/cli/token_texts.h"

#include <utility>

#include "nlohmann/json.hpp"

namespace dissonance::cli {

TokenTexts::TokenTexts(Connection& connection, std::string model)
    : connection_(connection), model_(std::move(model)) {}

std::string TokenTexts::Of(int32_t token) {
  const auto [entry, is_new] = known_.try_emplace(token, "-");
  if (!is_new) return entry->second;
  v1::DetokenizeRequest request;
  request.set_model(model_);
  request.add_ids(token);
  const absl::StatusOr<v1::DetokenizeResponse> response =
      connection_.Call(&v1::Inference::Stub::Detokenize, request);
  if (response.ok()) entry->second = nlohmann::json(response->text()).dump();
  return entry->second;
}

}  // namespace dissonance::cli
