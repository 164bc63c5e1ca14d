#include "src/compute/lora/batch_delta.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include <algorithm>

namespace dissonance {
namespace {

// SplitMix64 (Steele, Lea & Flood 2014): spreads a counter over 64 bits.
uint64_t Mix(uint64_t value) {
  value += 0x9E3779B97F4A7C15ULL;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

// Inverted-dropout factors [rows, width]: 0 with probability `rate`, else
// 1 / (1 - rate). `module` numbers the adapted matrices of a network.
at::Tensor DropoutFactors(const AdapterRun& run, int64_t module,
                          const at::Tensor& x) {
  uint64_t seed = Mix(run.dropout->value);
  seed = Mix(seed ^ static_cast<uint64_t>(module));
  seed = Mix(seed ^ static_cast<uint64_t>(run.first_position));
  const double keep = 1.0 - run.adapter->dropout();
  at::Tensor kept =
      at::empty(x.sizes(), at::TensorOptions().dtype(x.dtype()))
          .bernoulli_(keep, at::make_generator<at::CPUGeneratorImpl>(seed));
  return (kept / keep).to(x.device());
}

}  // namespace

void BatchDelta::AddTo(ProjectionGroup group, int64_t block,
                       const at::Tensor& x, at::Tensor& y) const {
  for (const AdapterRun& run : runs_) {
    if (run.row_count == 0) continue;
    const LoraGroup& weights = run.adapter->group(block, group);
    if (weights.modules.empty()) continue;
    const at::Tensor rows = x.narrow(0, run.row_begin, run.row_count)
                                .to(weights.down.scalar_type());
    const at::Tensor out = y.narrow(0, run.row_begin, run.row_count);
    if (run.dropout != nullptr && run.adapter->dropout() > 0) {
      AddWithDropout(run, weights, rows, out);
    } else {
      AddPlain(run, weights, rows, out);
    }
  }
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
