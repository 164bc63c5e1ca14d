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

// The vector as the site has rows: [width], or at a site with heads [heads,
// head_dim], where a flat one is split among the heads that the model has.
// INVALID_ARGUMENT if it is of other heads, or they can't share its numbers.
absl::StatusOr<v1::Tensor> ShapedFor(v1::Site site, v1::Tensor vector,
                                     const std::optional<v1::Model>& model);

// [width] as it is elsewhere than at a site with heads. There, of what
// ShapedFor gives, the piece of the head that the intervention names, or those
// of all. Fails as that does; INVALID_ARGUMENT if it has no such head.
absl::StatusOr<std::vector<VectorPiece>> PiecesOf(
    const v1::Tensor& vector, const v1::Intervention& intervention,
    const std::optional<v1::Model>& model);

// The same numbers as [width].
v1::Tensor Flat(v1::Tensor tensor);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_VECTOR_PIECES_H_
