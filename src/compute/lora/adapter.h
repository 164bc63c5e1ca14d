// A PEFT LoRA adapter, resident beside the base weights and never merged into
// them. Immutable, thread safe, shared: requests hold a reference, so an
// adapter can be replaced or dropped while they run.
//
//   ASSIGN_OR_RETURN(std::shared_ptr<const LoraAdapter> adapter,
//                    LoraAdapter::Load(dir, *model));
#ifndef DISSONANCE_COMPUTE_LORA_ADAPTER_H_
#define DISSONANCE_COMPUTE_LORA_ADAPTER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "src/compute/model/decoder.h"
#include "src/compute/model/model.h"

namespace dissonance {

struct LoraParameter;
class LoraParameters;
struct PeftConfig;

// One adapted projection: y[out_begin, out_begin + out_width) +=
// up @ (down @ x), with the scaling already in `up`.
struct LoraModule {
  int64_t number = 0;      // among all projections of the network
  int64_t out_begin = 0;   // within its group's fused output
  int64_t rank_begin = 0;  // within its group's fused down matrix
  at::Tensor up;           // [out_width, rank]
};

// The adapted projections of one group of one block. Their down matrices are
// stacked, so that the shared input is shrunk by one product.
struct LoraGroup {
  at::Tensor down;  // [sum of ranks, in_width]; undefined: nothing adapted
  std::vector<LoraModule> modules;
};

class LoraAdapter {
 public:
  // Reads DIR/adapter_config.json and adapter_model.safetensors and checks
  // both against the model: every targeted module has both matrices in the
  // right shape, and there is no other tensor. Matrices are kept in float32
  // (float64 beside a float64 base), as PEFT computes them. NOT_FOUND without
  // weights; UNIMPLEMENTED and INVALID_ARGUMENT name file and field.
  static absl::StatusOr<std::shared_ptr<const LoraAdapter>> Load(
      const std::string& directory, const Model& model);

  // The adapter of numbers that are being trained, copied. Equal, its digest
  // included, to what Load gives for a directory with lora's PeftTensors and
  // the PeftConfigJson for `base_model`.
  static absl::StatusOr<std::shared_ptr<const LoraAdapter>> Make(
      const LoraParameters& lora, const Model& model,
      const std::string& base_model = "");

  // An adapter of every projection that changes nothing, as training begins
  // with one: its up matrices are 0 (PEFT's lora_B), its down matrices drawn
  // from `seed`. Its digest names rank and seed.
  static absl::StatusOr<std::shared_ptr<const LoraAdapter>> Untrained(
      const Model& model, int64_t rank, uint64_t seed);

  const LoraGroup& group(int64_t block, ProjectionGroup group) const {
    return groups_[static_cast<size_t>(block * kGroupCount +
                                       static_cast<int>(group))];
  }
  // "sha256:..." over the config and weight files.
  const std::string& digest() const { return digest_; }
  double dropout() const { return dropout_; }
  int64_t rank() const { return rank_; }  // largest of its modules
  int64_t module_count() const { return module_count_; }
  int64_t bytes() const { return bytes_; }
  // Last parts of the adapted modules' names, in the decoder's order: "q_proj",
  // ...
  const std::vector<std::string>& target_names() const { return target_names_; }

 private:
  LoraAdapter() = default;
  // Lets go of each matrix once it is copied.
  static std::shared_ptr<LoraAdapter> FromModules(
      const PeftConfig& config, std::vector<LoraParameter> modules,
      int64_t block_count);

  std::vector<LoraGroup> groups_;  // [blocks * kGroupCount]
  std::string digest_;
  double dropout_ = 0.0;
  int64_t rank_ = 0;
  int64_t module_count_ = 0;
  int64_t bytes_ = 0;
  std::vector<std::string> target_names_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_LORA_ADAPTER_H_
