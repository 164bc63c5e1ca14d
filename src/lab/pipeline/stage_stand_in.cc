#include "src/lab/pipeline/stage_stand_in.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "src/base/status_macros.h"
#include "src/lab/pipeline/stage_fields.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

const v1::JobSpec& SourceOf(const v1::StageInput& input,
                            absl::Span<const PlannedStage> stages) {
  return std::find_if(stages.begin(), stages.end(),
                      [&input](const PlannedStage& each) {
                        return each.stage.name() == input.stage();
                      })
      ->stage.spec();
}

// Where a probe is trained is the captured places' business: the stage that
// captures them is checked for itself.
void StandInForActivations(const v1::ExtractActivationsSpec& source,
                           v1::TrainProbesSpec& probes) {
  probes.clear_activations_job();
  *probes.mutable_variants() = source.variants();
  probes.set_data(source.data());
  probes.set_data_name(source.data_name());
  probes.set_data_artifact(source.data_artifact());
  if (probes.scoring() == v1::MCQ_SCORING_UNSPECIFIED) {
    probes.set_scoring(source.scoring());
  }
}

// A vector of length 1.
v1::Tensor AnyVector(int64_t width) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DTYPE_FLOAT32);
  tensor.add_shape(width);
  tensor.mutable_data()->resize(static_cast<size_t>(width) * sizeof(float));
  tensor.mutable_data()->replace(0, sizeof(float),
                                 std::string("\0\0\x80\x3f", sizeof(float)));
  return tensor;
}

v1::SweepDirection StandInDirection(const v1::FitDirectionsSpec& source,
                                    const v1::Model& model) {
  std::vector<int> sites(source.sites().begin(), source.sites().end());
  if (sites.empty()) sites.push_back(v1::SITE_RESID_POST);
  std::vector<int32_t> blocks(source.blocks().begin(), source.blocks().end());
  if (blocks.empty()) {
    blocks.resize(static_cast<size_t>(model.block_count()));
    std::iota(blocks.begin(), blocks.end(), 0);
  }
  v1::SweepDirection direction;
  for (const int each : sites) {
    const auto site = static_cast<v1::Site>(each);
    for (const int32_t block : blocks) {
      v1::DirectionVector& vector = *direction.add_vectors();
      vector.mutable_place()->set_site(site);
      if (IsInBlocks(site)) vector.mutable_place()->set_block(block);
      *vector.mutable_vector() = AnyVector(model.d_model());
    }
  }
  return direction;
}

}  // namespace

absl::StatusOr<std::optional<v1::JobSpec>> StandInSpec(
    absl::Span<const PlannedStage> stages, size_t index, ModelByName model) {
  const v1::PipelineStage& stage = stages[index].stage;
  v1::JobSpec spec = stage.spec();
  for (const v1::StageInput& input : stage.inputs()) {
    const v1::JobSpec& source = SourceOf(input, stages);
    ASSIGN_OR_RETURN(const InputKind kind, InputKindOf(input, spec));
    const bool has_rows = !source.extract_activations().data().empty() ||
                          !source.extract_activations().data_artifact().empty();
    if (kind == InputKind::kJob && spec.has_train_probes() && has_rows) {
      StandInForActivations(source.extract_activations(),
                            *spec.mutable_train_probes());
    } else if (kind == InputKind::kDirection &&
               !source.fit_directions().variants().empty()) {
      const v1::FitDirectionsSpec& fit = source.fit_directions();
      ASSIGN_OR_RETURN(const v1::Model of, model(fit.variants(0).model()));
      RETURN_IF_ERROR(
          PutDirection(input, StandInDirection(fit, of).vectors(), spec));
    } else {
      return std::optional<v1::JobSpec>();
    }
  }
  for (const PlannedStage& each : stages) {
    if (each.output_adapter.empty() || &each == &stages[index]) continue;
    StandInFor(each.output_adapter, spec);
  }
  return spec;
}

}  // namespace dissonance
