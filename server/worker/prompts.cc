#include "server/worker/prompts.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"

namespace dissonance {

std::string InputLabel(const Inputs& inputs, int index) {
  const std::string& id = inputs[index].id();
  return id.empty() ? absl::StrCat("inputs[", index, "]")
                    : absl::StrCat("inputs[", index, "] (", id, ")");
}

absl::StatusOr<Prompts> EncodePrompts(const ResidentModel& model,
                                      const Inputs& inputs,
                                      const RequestLimits& limits,
                                      const Cancelled& cancelled) {
  if (inputs.empty()) {
    return absl::InvalidArgumentError("inputs: expected at least one");
  }
  if (inputs.size() > limits.items) {
    return OverLimit("inputs", inputs.size(), limits.items, "items");
  }
  std::vector<EncodedPrompt> prompts;
  int64_t tokens = 0;
  for (int i = 0; i < inputs.size(); ++i) {
    if (cancelled()) {
      return absl::CancelledError(
          "the client went away or its deadline passed");
    }
    absl::StatusOr<EncodedPrompt> prompt =
        EncodePrompt(model, inputs[i], limits);
    if (prompt.ok() && prompt->tokens.empty()) {
      prompt = absl::InvalidArgumentError(
          "the prompt has no tokens; give at least a begin-of-text token");
    }
    if (!prompt.ok()) return Annotate(prompt.status(), InputLabel(inputs, i));
    tokens += static_cast<int64_t>(prompt->tokens.size());
    if (tokens > limits.tokens) {
      return OverLimit("tokens of all inputs", tokens, limits.tokens, "tokens");
    }
    prompts.push_back(*std::move(prompt));
  }
  return std::make_shared<const std::vector<EncodedPrompt>>(std::move(prompts));
}

absl::StatusOr<std::vector<Prompts>> EncodeForVariants(
    const std::vector<ResolvedVariant>& variants, const Inputs& inputs,
    const RequestLimits& limits, const Cancelled& cancelled) {
  std::map<const Model*, Prompts> of_models;
  std::vector<Prompts> of_variants;
  for (const ResolvedVariant& variant : variants) {
    Prompts& prompts = of_models[variant.model.model.get()];
    if (prompts == nullptr) {
      ASSIGN_OR_RETURN(prompts,
                       EncodePrompts(variant.model, inputs, limits, cancelled));
    }
    of_variants.push_back(prompts);
  }
  return of_variants;
}

absl::Status CheckSize(const std::vector<Prompts>& prompts,
                       int64_t sample_count, int64_t new_count,
                       const RequestLimits& limits) {
  int64_t sequences = 0;
  int64_t tokens = 0;
  for (const Prompts& own : prompts) {
    for (const EncodedPrompt& prompt : *own) {
      sequences += sample_count;
      tokens += sample_count *
                (static_cast<int64_t>(prompt.tokens.size()) + new_count);
    }
  }
  if (sequences > limits.items) {
    return OverLimit("sequences over inputs, variants and samples", sequences,
                     limits.items, "items");
  }
  if (tokens > limits.tokens) {
    return OverLimit("tokens over inputs, variants and samples", tokens,
                     limits.tokens, "tokens");
  }
  return absl::OkStatus();
}

}  // namespace dissonance
