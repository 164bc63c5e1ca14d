// The trainable numbers of a LoRA adapter, as PEFT has them: A and B of every
// adapted module in float32 (float64 beside a float64 base), side by side in
// one buffer, so that an optimizer and a norm run over all of them at once. A
// copy shares the buffer. Not thread safe.
//
//   ASSIGN_OR_RETURN(LoraParameters lora,
//                    LoraParameters::Init(config, model, seed));
//   lora.modules()[3].a.addmm_(...);   // a view of lora.flat()
//   ASSIGN_OR_RETURN(auto adapter, LoraAdapter::Make(lora, *model));
#ifndef DISSONANCE_COMPUTE_LORA_LORA_PARAMETERS_H_
#define DISSONANCE_COMPUTE_LORA_LORA_PARAMETERS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/compute/lora/peft_config.h"
#include "src/compute/model/decoder_spec.h"
#include "src/compute/model/model.h"
#include "src/compute/tensor/safetensors.h"

namespace dissonance {

// One adapted projection: y[:, out_begin, out_begin + out_width) +=
// scaling * x A^T B^T.
struct LoraParameter {
  std::string name;    // "model.layers.0.self_attn.q_proj"
  int64_t number = 0;  // among all projections of the network, as LoraModule
  int64_t block = 0;
  ProjectionGroup group = ProjectionGroup::kQkv;
  int64_t out_begin = 0;  // within its group's fused output
  double scaling = 1.0;
  at::Tensor a;  // [rank, in_width], a view of the buffer
  at::Tensor b;  // [out_width, rank], likewise; rows in the group's order
};

class LoraParameters {
 public:
  // As PEFT begins: A uniform in +-1/sqrt(in_width) (Kaiming with a = sqrt 5),
  // B zero. Each module draws from `seed` and its own number. config() then
  // lists the targets that all_linear stands for; without any target, those of
  // the attention. INVALID_ARGUMENT if a target, an excluded module or a
  // pattern matches no module, or a block is not there, naming it and what the
  // modules are called; RESOURCE_EXHAUSTED if they don't fit into memory.
  static absl::StatusOr<LoraParameters> Init(const PeftConfig& config,
                                             const Model& model, uint64_t seed);
  // A PEFT directory's. Fails as LoraAdapter::Load does.
  static absl::StatusOr<LoraParameters> Read(const std::string& directory,
                                             const Model& model);

  const PeftConfig& config() const { return config_; }
  // REQUIRES: 0 <= dropout < 1.
  void set_dropout(double dropout) { config_.dropout = dropout; }
  // Of the files that Read took them from, as LoraAdapter::digest; empty after
  // Init.
  const std::string& files_digest() const { return files_digest_; }
  // In the decoder's order.
  const std::vector<LoraParameter>& modules() const { return modules_; }
  // All numbers, [parameter_count]: a, b of the first module, and so on.
  const at::Tensor& flat() const { return flat_; }
  // A view like `modules()[i].a` (or b) of another buffer laid out like flat().
  at::Tensor ViewA(const at::Tensor& like_flat, size_t i) const;
  at::Tensor ViewB(const at::Tensor& like_flat, size_t i) const;

  // As PEFT names and stores them (base_model.model.NAME.lora_A.weight): copies
  // on the CPU. Of `flat`, or of another buffer laid out like it. Throws what
  // torch throws. A file of them has PeftMetadata.
  std::vector<NamedTensor> PeftTensors(const DecoderSpec& spec,
                                       const at::Tensor& like_flat) const;
  std::vector<NamedTensor> PeftTensors(const DecoderSpec& spec) const {
    return PeftTensors(spec, flat_);
  }

 private:
  // Moves the modules' matrices into one buffer.
  static LoraParameters Pack(PeftConfig config,
                             std::vector<LoraParameter> modules,
                             const at::TensorOptions& options);

  PeftConfig config_;
  std::string files_digest_;
  at::Tensor flat_;
  std::vector<LoraParameter> modules_;
};

// The "__metadata__" of PEFT's weight files.
const SafetensorsMetadata& PeftMetadata();

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_LORA_LORA_PARAMETERS_H_
