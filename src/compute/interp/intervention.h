// Changes to a forward pass as data: which numbers, where, in which positions,
// and what happens to them. Values, thread safe.
//
//   ASSIGN_OR_RETURN(auto steer, PrepareInterventions(model, {
//       {.site = Site::kResidPost, .block = 3, .op = Intervention::Op::kAdd,
//        .vector = direction, .coefficient = 4.0}}));
#ifndef DISSONANCE_COMPUTE_INTERP_INTERVENTION_H_
#define DISSONANCE_COMPUTE_INTERP_INTERVENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/compute/model/model.h"
#include "src/compute/model/site.h"

namespace dissonance {

// Positions of a sequence, counted from 0. Those of the prompt are below
// `prompt_count`; the rest, generated tokens and tokens of continuations, are
// "generated" once they are fed back.
struct Positions {
  enum class Kind { kAll, kPrompt, kLastPrompt, kGenerated, kRange, kIndices };
  Kind kind = Kind::kAll;
  int64_t begin = 0;  // kRange
  int64_t end = 0;    // kRange, not included
  // kIndices. In any order; Prepare* sorts them.
  std::vector<int64_t> indices = {};

  static Positions Of(Kind kind);  // any but kRange and kIndices
  static Positions Range(int64_t begin, int64_t end);
  static Positions Indices(std::vector<int64_t> indices);

  bool Contains(int64_t position, int64_t prompt_count) const;
  // The first position of the prompt that is among them, or `prompt_count`.
  int64_t FirstInPrompt(int64_t prompt_count) const;
};

// INVALID_ARGUMENT for a negative position or an empty range.
absl::Status CheckPositions(const Positions& positions);

// Puts listed positions in ascending order and returns the order: which of
// them came first, and so on. INVALID_ARGUMENT if one is listed twice.
absl::StatusOr<std::vector<int64_t>> SortIndices(Positions& positions);

// Several of them on one row take effect in their order in the list.
struct Intervention {
  enum class Op {
    kAdd,         // x + coefficient * vector
    kSet,         // vector: replace, zero and mean ablation
    kScale,       // coefficient * x
    kProjectOut,  // x - (x . u) u with u the vector at unit length
  };
  Site site = Site::kResidPost;
  int64_t block = 0;                 // -1 for kFinalNorm
  std::optional<int64_t> head = {};  // of a site with heads; unset: every head
  Positions positions = {};
  Op op = Op::kAdd;
  // [width] of the site, of every head alike. kSet may have a row for each of
  // kIndices' positions: [indices, width]. Unused by kScale.
  at::Tensor vector = {};
  double coefficient = 1.0;
};

// Interventions with their vectors ready on the model's device: multiplied by
// the coefficient (kAdd), at unit length (kProjectOut), in the type in which
// they are used. Immutable, thread safe.
using Interventions = std::vector<Intervention>;

// INVALID_ARGUMENT for a site that is not there (CheckSite), a head out of
// range, a vector of another width, numbers that are not finite, a direction
// without length.
absl::Status CheckIntervention(const Model& model, Intervention intervention);

// Makes them ready. INVALID_ARGUMENT as CheckIntervention says, naming which
// one. Interventions that change nothing are left out.
absl::StatusOr<std::shared_ptr<const Interventions>> PrepareInterventions(
    const Model& model, Interventions interventions);

// The latest block that a pass with these changes may begin with, its residual
// stream taken from a pass without them. At most the last block, whose rows are
// not all computed to its end.
int64_t LatestEntry(const DecoderSpec& spec,
                    const Interventions& interventions);

// The first of the prompt's positions that a list changes; `prompt_count` if
// there is none.
int64_t FirstChanged(const Interventions& interventions, int64_t prompt_count);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_INTERP_INTERVENTION_H_
