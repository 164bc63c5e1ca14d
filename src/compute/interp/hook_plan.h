// One step's interventions, compiled: for each place in the network the rows
// that change there and how, merged over all sequences of the batch into few
// index operations. A row's result depends on its own sequence only. Built for
// one step, used by one thread.
#ifndef DISSONANCE_COMPUTE_INTERP_HOOK_PLAN_H_
#define DISSONANCE_COMPUTE_INTERP_HOOK_PLAN_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "src/compute/interp/intervention.h"
#include "src/compute/model/site.h"

namespace dissonance {

// The rows of one sequence in a step.
struct HookedRows {
  int64_t row_begin = 0;
  absl::Span<const int64_t> positions = {};  // of its rows
  int64_t prompt_count = 0;
  const Interventions* interventions = nullptr;
};

class HookPlan final : public SiteVisitor {
 public:
  // `wanted`: the rows that the final norm sees, ascending. Costs
  // O(interventions * rows), nothing for sequences without any.
  HookPlan(const std::vector<HookedRows>& sequences,
           const std::vector<int64_t>& wanted);

  bool empty() const { return places_.empty(); }
  bool Watches(int64_t block) const override { return blocks_.contains(block); }
  void Visit(Site site, int64_t block, at::Tensor& x) override;

 private:
  // Interventions of one kind, on at most one per row, as one operation.
  struct Edit {
    Intervention::Op op = Intervention::Op::kAdd;
    std::optional<int64_t> head;
    std::vector<int64_t> rows;
    // Of each row.
    std::vector<double> coefficients;
    std::vector<at::Tensor> vectors;  // none for kScale
  };
  using Place = std::pair<Site, int64_t>;
  // The n-th change of a row comes after all (n-1)-th ones.
  using EditKey = std::tuple<Place, int64_t, Intervention::Op, int64_t>;

  void AddSequence(const HookedRows& sequence,
                   const std::vector<int64_t>& wanted,
                   std::map<EditKey, Edit>& edits);
  static void Apply(const Edit& edit, at::Tensor& x);

  std::map<Place, std::vector<Edit>> places_;
  std::set<int64_t> blocks_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_INTERP_HOOK_PLAN_H_
