// What an adapter's matrices are, without the matrices: how much memory they
// take is known before any is taken. Values, thread safe.
//
//   ASSIGN_OR_RETURN(LoraShape shape, LoraShape::New(config, *model));
//   shape.bytes();
#ifndef DISSONANCE_COMPUTE_LORA_LORA_SHAPE_H_
#define DISSONANCE_COMPUTE_LORA_LORA_SHAPE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "src/compute/lora/lora_parameters.h"
#include "src/compute/lora/peft_config.h"
#include "src/compute/model/decoder_spec.h"
#include "src/compute/model/model.h"

namespace dissonance {

struct LoraShape {
  struct Module {
    std::string name;
    int64_t block = 0;
    ProjectionGroup group = ProjectionGroup::kQkv;
    int64_t rank = 0;
  };

  // Of what LoraParameters::Init makes; fails as it does, but for memory.
  static absl::StatusOr<LoraShape> New(const PeftConfig& config,
                                       const Model& model);
  // Of a PEFT directory, by its configuration alone. INVALID_ARGUMENT if it
  // adapts no module of the model, and as ReadPeftConfig says.
  static absl::StatusOr<LoraShape> Stored(const std::string& directory,
                                          const Model& model);
  static LoraShape Of(const LoraParameters& lora);

  int64_t bytes() const { return parameter_count * element_bytes; }

  PeftConfig config;            // with its targets listed
  std::vector<Module> modules;  // in the decoder's order
  int64_t parameter_count = 0;
  int64_t element_bytes = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_LORA_LORA_SHAPE_H_
