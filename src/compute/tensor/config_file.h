// The JSON file that describes a directory of weights: config.json of a model,
// adapter_config.json of a PEFT adapter. Thread safe; owns nothing.
#ifndef DISSONANCE_COMPUTE_TENSOR_CONFIG_FILE_H_
#define DISSONANCE_COMPUTE_TENSOR_CONFIG_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace dissonance {

struct ConfigText {
  std::string path;
  std::string text;
};

// At most 4 MiB. NOT_FOUND says what the directory is instead: absent, an
// adapter where a model was asked for, the other way round, or something else.
absl::StatusOr<ConfigText> ReadModelConfig(const std::string& directory);
absl::StatusOr<ConfigText> ReadAdapterConfig(const std::string& directory);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TENSOR_CONFIG_FILE_H_
