// Rotary embeddings as config.json describes them. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_ROPE_CONFIG_H_
#define DISSONANCE_COMPUTE_MODEL_ROPE_CONFIG_H_

#include <string>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"
#include "src/compute/model/decoder_spec.h"
#include "src/compute/model/families.h"

namespace dissonance {

// Sets rope, and window_rope where the config has one of its own. Published
// configs hold rope_theta and rope_scaling; transformers 5 writes both into
// rope_parameters, by layer type where these differ. UNIMPLEMENTED names a
// type that is not supported; `where` begins the messages.
absl::Status ReadRopes(const nlohmann::json& config, const std::string& where,
                       const Family& family, DecoderSpec& spec);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_ROPE_CONFIG_H_
