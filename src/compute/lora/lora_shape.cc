#include "src/compute/lora/lora_shape.h"

#include <utility>

#include "src/base/status_macros.h"
#include "src/compute/lora/adapter_reader.h"

namespace dissonance {
namespace {

LoraShape ShapeOf(PeftConfig config, const std::vector<TargetedModule>& targets,
                  const Model& model) {
  LoraShape shape;
  shape.config = std::move(config);
  shape.element_bytes =
      static_cast<int64_t>(c10::elementSize(LoraDtype(model)));
  for (const TargetedModule& target : targets) {
    shape.modules.push_back({.name = target.place.name,
                             .block = target.place.block,
                             .group = target.place.group,
                             .rank = target.rank});
    shape.parameter_count += target.rank * (target.in_width + target.out_width);
  }
  return shape;
}

}  // namespace

absl::StatusOr<LoraShape> LoraShape::New(const PeftConfig& config,
                                         const Model& model) {
  ASSIGN_OR_RETURN(PeftConfig resolved, ResolvePeftConfig(config, model));
  const std::vector<TargetedModule> targets =
      TargetedModules(resolved, model.spec());
  return ShapeOf(std::move(resolved), targets, model);
}

absl::StatusOr<LoraShape> LoraShape::Stored(const std::string& directory,
                                            const Model& model) {
  ASSIGN_OR_RETURN(PeftConfig config, ReadPeftConfig(directory));
  const std::vector<TargetedModule> targets =
      TargetedModules(config, model.spec());
  if (targets.empty()) return NothingTargeted(config, model.spec());
  return ShapeOf(std::move(config), targets, model);
}

LoraShape LoraShape::Of(const LoraParameters& lora) {
  LoraShape shape;
  shape.config = lora.config();
  shape.parameter_count = lora.flat().numel();
  shape.element_bytes = static_cast<int64_t>(lora.flat().element_size());
  for (const LoraParameter& own : lora.modules()) {
    shape.modules.push_back({.name = own.name,
                             .block = own.block,
                             .group = own.group,
                             .rank = own.a.size(0)});
  }
  return shape;
}

}  // namespace dissonance
