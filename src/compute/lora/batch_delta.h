// What the adapters of one batch add to its projections: each run of rows has
// its own adapter, or none. Built for one step, used by one thread.
#ifndef DISSONANCE_COMPUTE_LORA_BATCH_DELTA_H_
#define DISSONANCE_COMPUTE_LORA_BATCH_DELTA_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "src/compute/lora/adapter.h"
#include "src/compute/model/decoder.h"
#include "src/compute/model/row_ops.h"

namespace dissonance {

// Active dropout of one segment (Monte-Carlo dropout). Masks follow from the
// key, the place in the network and the rows' positions alone, never from the
// batch nor from how many rows of a prompt are computed at once.
struct DropoutKey {
  uint64_t value = 0;  // seed, sample and item, mixed by the caller
};

// Consecutive rows with one adapter, all of one kind.
struct AdapterRun {
  int64_t row_begin = 0;
  int64_t row_count = 0;
  bool is_prefill = true;
  std::shared_ptr<const LoraAdapter> adapter;
  // Set: exactly one segment's rows, with dropout of the adapter's own rate.
  const DropoutKey* dropout = nullptr;
  // Only with dropout, which draws for the rows of an attention tile at once:
  // position of the run's first row, linear rows before its tree rows, tile.
  int64_t first_position = 0;
  int64_t linear_count = 0;
  int64_t tile = 1;
};

class BatchDelta : public ProjectionDelta {
 public:
  BatchDelta(std::vector<AdapterRun> runs, bool reproducible)
      : runs_(std::move(runs)), reproducible_(reproducible) {}

  void AddTo(ProjectionGroup group, int64_t block, const at::Tensor& x,
             at::Tensor& y) const override;
  // Null with active dropout: its masks are drawn for a tile's rows at once.
  std::unique_ptr<ProjectionDelta> OnlyRows(
      const std::vector<int64_t>& rows) const override;

 private:
  RowKinds KindsOf(const AdapterRun& run) const {
    return {.prefill = run.is_prefill ? run.row_count : 0,
            .tiled = reproducible_};
  }
  void AddPlain(const AdapterRun& run, const LoraGroup& group,
                const at::Tensor& x, const at::Tensor& y) const;
  void AddWithDropout(const AdapterRun& run, const LoraGroup& group,
                      const at::Tensor& x, const at::Tensor& y) const;

  const std::vector<AdapterRun> runs_;
  const bool reproducible_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_LORA_BATCH_DELTA_H_
