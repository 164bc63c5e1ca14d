#include "src/compute/lora/batch_delta.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "src/base/mix.h"
#include "src/compute/lora/low_rank.h"

namespace dissonance {
namespace {

// How many of the rows from `row` on are drawn for at once: those of a tile,
// or all tree rows.
int64_t DrawnTogether(const AdapterRun& run, int64_t row) {
  if (row >= run.linear_count) return run.row_count - row;
  const int64_t position = run.first_position + row;
  return std::min(run.tile - position % run.tile, run.linear_count - row);
}

// Inverted-dropout factors [rows, width]: 0 with probability `rate`, else
// 1 / (1 - rate). `module` numbers the adapted matrices of a network.
at::Tensor DropoutFactors(const AdapterRun& run, int64_t module,
                          const at::Tensor& x) {
  const uint64_t key =
      Mix(Mix(run.dropout->value) ^ static_cast<uint64_t>(module));
  const double keep = 1.0 - run.adapter->dropout();
  at::Tensor kept = at::empty(x.sizes(), at::TensorOptions().dtype(x.dtype()));
  for (int64_t row = 0; row < run.row_count;) {
    const int64_t count = DrawnTogether(run, row);
    const uint64_t seed =
        Mix(key ^ static_cast<uint64_t>(run.first_position + row));
    kept.narrow(0, row, count)
        .bernoulli_(keep, at::make_generator<at::CPUGeneratorImpl>(seed));
    row += count;
  }
  return (kept / keep).to(x.device());
}

}  // namespace

void BatchDelta::AddTo(ProjectionGroup group, int64_t block,
                       const at::Tensor& x, at::Tensor& y) const {
  std::vector<LowRankRows> decoded;
  for (const AdapterRun& run : runs_) {
    if (run.row_count == 0) continue;
    const LoraGroup& weights = run.adapter->group(block, group);
    if (weights.modules.empty()) continue;
    if (!run.is_prefill && run.dropout == nullptr && HasLowRank(y)) {
      decoded.push_back({run.row_begin, run.row_count, &weights});
      continue;
    }
    const at::Tensor rows = x.narrow(0, run.row_begin, run.row_count)
                                .to(weights.down.scalar_type());
    const at::Tensor out = y.narrow(0, run.row_begin, run.row_count);
    if (run.dropout != nullptr && run.adapter->dropout() > 0) {
      AddWithDropout(run, weights, rows, out);
    } else {
      AddPlain(run, weights, rows, out);
    }
  }
  AddLowRank(decoded, x, y);
}

std::unique_ptr<ProjectionDelta> BatchDelta::OnlyRows(
    const std::vector<int64_t>& rows) const {
  const auto place = [&rows](int64_t row) {
    return std::lower_bound(rows.begin(), rows.end(), row) - rows.begin();
  };
  std::vector<AdapterRun> left;
  for (const AdapterRun& run : runs_) {
    if (run.dropout != nullptr && run.adapter->dropout() > 0) return nullptr;
    AdapterRun& narrowed = left.emplace_back(run);
    narrowed.row_begin = place(run.row_begin);
    narrowed.row_count =
        place(run.row_begin + run.row_count) - narrowed.row_begin;
  }
  return std::make_unique<BatchDelta>(std::move(left), reproducible_);
}

void BatchDelta::AddPlain(const AdapterRun& run, const LoraGroup& group,
                          const at::Tensor& x, const at::Tensor& y) const {
  const RowKinds kinds = KindsOf(run);
  const at::Tensor shrunk = RowLinear(x, group.down, std::nullopt, kinds);
  for (const LoraModule& module : group.modules) {
    const at::Tensor part =
        shrunk.narrow(1, module.rank_begin, module.up.size(1)).contiguous();
    y.narrow(1, module.out_begin, module.up.size(0))
        .add_(RowLinear(part, module.up, std::nullopt, kinds));
  }
}

void BatchDelta::AddWithDropout(const AdapterRun& run, const LoraGroup& group,
                                const at::Tensor& x,
                                const at::Tensor& y) const {
  const RowKinds kinds = KindsOf(run);
  for (const LoraModule& module : group.modules) {
    const at::Tensor dropped = x * DropoutFactors(run, module.number, x);
    const at::Tensor down =
        group.down.narrow(0, module.rank_begin, module.up.size(1));
    const at::Tensor shrunk = RowLinear(dropped, down, std::nullopt, kinds);
    y.narrow(1, module.out_begin, module.up.size(0))
        .add_(RowLinear(shrunk, module.up, std::nullopt, kinds));
  }
}

}  // namespace dissonance
