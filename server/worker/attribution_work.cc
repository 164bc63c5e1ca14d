#include "server/worker/attribution_work.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include "src/compute/train/training_network.h"

namespace dissonance {
namespace {

absl::StatusOr<std::vector<double>> Changes(const AttributionTask& task) {
  TrainingNetwork network(*task.model, task.adapter.get());
  absl::StatusOr<DeltaGradients> found =
      network.GradientsOf(task.tokens, task.candidates, task.captured);
  if (!found.ok()) return found.status();
  const at::Tensor positions =
      at::tensor(task.positions, at::kLong).to(task.model->device());
  std::vector<double> changes;
  for (const PatchPlace& patch : task.patches) {
    const size_t p = patch.captured;
    const auto at_positions = [&](const at::Tensor& x) {
      return x.index_select(0, positions).to(at::kDouble);
    };
    at::Tensor products =
        at_positions(found->gradients[p]) *
        (task.rows[p].to(at::kDouble) - at_positions(found->values[p]));
    if (patch.head.has_value()) products = products.select(1, *patch.head);
    const at::Tensor sums = products.flatten(1).sum(1).to(at::kCPU);
    for (int64_t i = 0; i < sums.size(0); ++i) {
      changes.push_back(sums[i].item<double>());
    }
  }
  return changes;
}

}  // namespace

bool AttributionWork::RunPiece() {
  changes_ = Changes(task_);
  return false;
}

void AttributionWork::Finish(const absl::Status& status) {
  done_(status.ok() ? std::move(changes_) : status);
}

}  // namespace dissonance
