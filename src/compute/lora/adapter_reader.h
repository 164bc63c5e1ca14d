// The files of a PEFT adapter, read and checked against a model: what
// LoraAdapter and LoraParameters are made from. Internal to this folder; users
// want adapter.h or lora_parameters.h. Thread safe.
#ifndef DISSONANCE_COMPUTE_LORA_ADAPTER_READER_H_
#define DISSONANCE_COMPUTE_LORA_ADAPTER_READER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/compute/lora/lora_parameters.h"
#include "src/compute/lora/peft_config.h"
#include "src/compute/model/decoder_spec.h"
#include "src/compute/model/model.h"
#include "src/compute/tensor/safetensors.h"

namespace dissonance {

// A module that a configuration adapts.
struct TargetedModule {
  LoraParameter place;  // without matrices
  int64_t rank = 0;
  int64_t in_width = 0;
  int64_t out_width = 0;
};

// In the decoder's order.
std::vector<TargetedModule> TargetedModules(const PeftConfig& config,
                                            const DecoderSpec& spec);

// A new adapter's configuration with its targets listed, checked against the
// model and in the form in which a file has it. Fails as LoraParameters::Init
// does.
absl::StatusOr<PeftConfig> ResolvePeftConfig(const PeftConfig& config,
                                             const Model& model);

// INVALID_ARGUMENT: the configuration adapts nothing.
absl::Status NothingTargeted(const PeftConfig& config, const DecoderSpec& spec);

// RESOURCE_EXHAUSTED, with both numbers, if their matrices need more memory
// than there is. `root` as CheckMemory's.
absl::Status CheckMatricesFit(const std::vector<TargetedModule>& targets,
                              at::ScalarType dtype,
                              const std::string& root = "");

// What PEFT calls a module's matrix, "lora_A" or "lora_B".
std::string PeftTensorName(const std::string& module, absl::string_view matrix);

// The type that matrices beside a model have.
at::ScalarType LoraDtype(const Model& model);

struct StoredAdapter {
  PeftConfig config;
  std::shared_ptr<SafetensorsFile> weights;
  // In the decoder's order; matrices on the model's device, in LoraDtype, each
  // a copy of its own.
  std::vector<LoraParameter> modules;
  // "sha256:..." over both files.
  std::string digest;
};

// Of the digests of its files.
std::string AdapterDigest(const std::string& config,
                          const std::string& weights);

// Fails as LoraAdapter::Load says.
absl::StatusOr<StoredAdapter> ReadStoredAdapter(const std::string& directory,
                                                const Model& model);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_LORA_ADAPTER_READER_H_
