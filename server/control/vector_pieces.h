// A direction's vector as an intervention takes it: whole, or, at a site with
// heads, a piece for each head. Pure functions; thread safe.
#ifndef DISSONANCE_SERVER_CONTROL_VECTOR_PIECES_H_
#define DISSONANCE_SERVER_CONTROL_VECTOR_PIECES_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/common.pb.h"
#include "dissonance/v1/models.pb.h"

namespace dissonance {

// Numbers of a row at the site; 0 where the record of a model does not tell.
int64_t WidthAt(const v1::Model& model, v1::Site site);

struct VectorPiece {
  std::optional<int32_t> head;  // unset: as the intervention has it
  v1::Tensor tensor;            // [width], or [head_dim] of a head
};

// [width] as it is elsewhere than at a site with heads. There [heads, head_dim]
// or the same flat, whose heads the model counts: the piece of the head that
// the intervention names, or those of all. INVALID_ARGUMENT if it has no such
// head, or as many numbers as the heads can't share.
absl::StatusOr<std::vector<VectorPiece>> PiecesOf(
    const v1::Tensor& vector, const v1::Intervention& intervention,
    const std::optional<v1::Model>& model);

// The same numbers as [width].
v1::Tensor Flat(v1::Tensor tensor);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_VECTOR_PIECES_H_
