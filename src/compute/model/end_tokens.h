// The tokens that end a text, as Hugging Face's configurations name them.
// Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_END_TOKENS_H_
#define DISSONANCE_COMPUTE_MODEL_END_TOKENS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "src/compute/model/decoder_spec.h"

namespace dissonance {

// "eos_token_id" of a configuration: one, a list, or none. INVALID_ARGUMENT
// for anything else; `where` begins the message.
absl::StatusOr<std::vector<int32_t>> EndTokensOf(const nlohmann::json& config,
                                                 const std::string& where);

// What transformers' generate() ends at: generation_config.json's where the
// directory has one that names any, else config.json's.
absl::StatusOr<std::vector<int32_t>> GenerationEndTokens(
    const std::string& directory, const DecoderSpec& spec);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_END_TOKENS_H_
