#include "src/lab/finetune/fine_tune.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/finetune/fine_tune_spec.h"

namespace dissonance {
namespace {

absl::StatusOr<FineTunePlan> Check(const v1::JobSpec& spec,
                                   ComputeClient& compute) {
  if (!spec.has_fine_tune()) {
    return absl::InvalidArgumentError("spec.kind: expected fine_tune");
  }
  const v1::FineTuneSpec& asked = spec.fine_tune();
  RETURN_IF_ERROR(CheckFineTuneNames(asked));
  v1::Variant start;
  start.set_model(asked.model());
  start.set_adapter(asked.adapter());
  RETURN_IF_ERROR(Annotate(compute.CheckVariant(start), "fine_tune"));
  ASSIGN_OR_RETURN(const v1::Model model, compute.GetModel(asked.model()));
  for (int i = 0; i < asked.lora().blocks_size(); ++i) {
    const int32_t block = asked.lora().blocks(i);
    if (block < model.block_count()) continue;
    return BadFineTuneField(
        absl::StrCat("lora.blocks[", i, "]"),
        absl::StrCat(model.name(), " has blocks 0 to ", model.block_count() - 1,
                     ", not ", block));
  }
  return CheckFineTune(asked, model.max_position_count());
}

}  // namespace

absl::Status FineTune::ValidateReplay(const v1::JobSpec& spec) {
  return Check(spec, parts_.compute).status();
}

absl::Status FineTune::Validate(const v1::JobSpec& spec) {
  RETURN_IF_ERROR(ValidateReplay(spec));
  const v1::FineTuneSpec& asked = spec.fine_tune();
  if (asked.replace()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<v1::Adapter> taken,
                   parts_.registrar.Find(asked.output_adapter()));
  if (!taken.has_value()) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat(
      "fine_tune.output_adapter: the name ", asked.output_adapter(),
      " is taken: choose another, or, if that adapter is yours, set `replace` "
      "(--replace on the command line)"));
}

absl::Status FineTune::Run(const v1::JobSpec& spec, JobContext& job) {
  ASSIGN_OR_RETURN(FineTunePlan plan, Check(spec, parts_.compute));
  FineTuneAttempt attempt(parts_, spec.fine_tune(), std::move(plan), job);
  return attempt.Run();
}

DeviceMemory FineTune::Memory(const v1::JobSpec& spec) {
  const std::string& model = spec.fine_tune().model();
  return {{model, parts_.compute.WeightBytes(model)}};
}

}  // namespace dissonance
