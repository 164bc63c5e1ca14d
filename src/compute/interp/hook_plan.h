// One step's interventions and captures, compiled: for each place in the
// network the rows that change there and how, and the rows that are kept,
// merged over all sequences of the batch into few index operations. A row's
// result depends on its own sequence only. At a place a trunk's rows are kept
// first, then come interventions, then captures. Built for one step, used by
// one thread.
#ifndef DISSONANCE_COMPUTE_INTERP_HOOK_PLAN_H_
#define DISSONANCE_COMPUTE_INTERP_HOOK_PLAN_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "absl/types/span.h"
#include "src/compute/interp/capture.h"
#include "src/compute/interp/intervention.h"
#include "src/compute/model/site.h"

namespace dissonance {

// The rows of one sequence in a step.
struct HookedRows {
  int64_t row_begin = 0;
  absl::Span<const int64_t> positions = {};  // of its rows
  int64_t prompt_count = 0;
  const Interventions* interventions = nullptr;  // null: none
  const CaptureSpec* capture = nullptr;          // null: none
  // The block at whose entry all its rows are kept, as they are before
  // resid_post of the block before is changed; 0: none are. Before the last
  // block's end.
  int64_t trunk_block = 0;
};

class HookPlan final : public SiteVisitor {
 public:
  // `wanted`: the rows that the final norm sees, ascending. Costs
  // O((interventions + captures) * rows), nothing for sequences without any.
  HookPlan(const std::vector<HookedRows>& sequences,
           std::vector<int64_t> wanted);

  bool empty() const {
    return edits_.empty() && keeps_.empty() && trunk_keeps_.empty();
  }
  bool NeedsAllRows(int64_t block) const override {
    return whole_blocks_.contains(block);
  }
  void Narrowed() override { is_narrowed_ = true; }
  void Visit(Site site, int64_t block, at::Tensor& x) override;
  bool WantsPattern(int64_t block, int64_t row_begin,
                    int64_t row_count) const override;
  void VisitPattern(int64_t block, int64_t row_begin,
                    const at::Tensor& pattern) override;
  // Logits [rows, vocab] of these rows of the batch, ascending; several calls
  // in this order cover all of which logits are kept.
  void VisitLogits(const std::vector<int64_t>& rows, const at::Tensor& logits);

  // What was kept, in the order of the sequences. Call once, last.
  std::vector<CapturedRows> TakeCaptured();
  // Residual rows [rows, d_model] at the trunk blocks, in the order of the
  // sequences; undefined where none were asked for. Call once.
  std::vector<at::Tensor> TakeTrunks() { return std::move(trunks_); }

 private:
  // Interventions of one kind, on at most one per row, as one operation.
  struct Edit {
    Intervention::Op op = Intervention::Op::kAdd;
    std::optional<int64_t> head;
    std::vector<int64_t> rows;  // of the batch
    // Of each row.
    std::vector<double> coefficients;
    std::vector<at::Tensor> vectors;  // none for kScale
  };
  // Rows of one sequence that are kept at a place.
  struct Keep {
    size_t sequence = 0;
    size_t place = 0;           // in the sequence's capture
    std::vector<int64_t> rows;  // of the batch
  };
  // All rows of one sequence, kept unchanged.
  struct TrunkKeep {
    size_t sequence = 0;
    int64_t row_begin = 0;
    int64_t row_count = 0;
  };
  // The n-th change of a row comes after all (n-1)-th ones.
  using EditKey = std::tuple<SitePlace, int64_t, Intervention::Op, int64_t>;

  void AddEdits(const HookedRows& sequence, std::map<EditKey, Edit>& edits);
  void AddKeeps(const HookedRows& sequence, size_t number);
  // Where the batch's rows are in what a place shows now; those that are not
  // there are left out.
  bool ShowsWanted(Site site) const {
    return is_narrowed_ || IsBehindBlocks(site);
  }
  Edit Located(const Edit& edit) const;
  std::vector<int64_t> Located(const std::vector<int64_t>& rows) const;
  void KeepTrunks(SitePlace place, const at::Tensor& x);
  void KeepRows(const std::vector<Keep>& keeps, bool shows_wanted,
                const at::Tensor& x);

  const std::vector<int64_t> wanted_;
  std::set<int64_t> whole_blocks_;  // rows are kept that are not wanted
  bool is_narrowed_ = false;
  std::map<SitePlace, std::vector<Edit>> edits_;
  std::map<SitePlace, std::vector<Keep>> keeps_;
  std::map<SitePlace, std::vector<TrunkKeep>> trunk_keeps_;
  std::vector<CapturedRows> captured_;  // of each sequence
  std::vector<at::Tensor> trunks_;      // likewise
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_INTERP_HOOK_PLAN_H_
