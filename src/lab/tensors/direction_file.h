// The vectors of a direction and the file that keeps them: safetensors, a
// float32 tensor for each place ("blocks.3.resid_post"), and beside them the
// texts "method", "model", "source" and "places", a JSON object with norm,
// residual_norm and bias of each place. Pure functions; thread safe.
//
//   RETURN_IF_ERROR(NormalizeVectors(direction));
//   const std::string bytes = DirectionFile(direction);
//   ...
//   RETURN_IF_ERROR(ReadDirectionFile(bytes, direction));
#ifndef DISSONANCE_LAB_TENSORS_DIRECTION_FILE_H_
#define DISSONANCE_LAB_TENSORS_DIRECTION_FILE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/probes.pb.h"

namespace dissonance {

// Places that a direction may have.
inline constexpr int kDirectionPlaceLimit = 1000;

// The numbers of a float32 or float64 tensor, row by row. INVALID_ARGUMENT if
// its bytes are not what type and shape ask for, or a number is not finite.
absl::StatusOr<std::vector<double>> FiniteNumbersOf(const v1::Tensor& tensor);

// Makes every vector float32 and of length 1 and notes its length where norm is
// 0; fills `places` and `width`. Vectors whose length is 1 up to rounding stay
// bit for bit. INVALID_ARGUMENT, naming the vector, for one that is empty, too
// short to tell a direction, not finite, of another width than the first, or at
// a place that cannot be steered or has one already.
absl::Status NormalizeVectors(v1::Direction& direction);

// REQUIRES: NormalizeVectors.
std::string DirectionFile(const v1::Direction& direction);

// Fills in the vectors of `direction.places`. DATA_LOSS if the file has not
// what it should have.
absl::Status ReadDirectionFile(std::string bytes, v1::Direction& direction);

// "blocks.2.resid_post, blocks.3.resid_post", the first few.
std::string PlacesText(const v1::Direction& direction);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_TENSORS_DIRECTION_FILE_H_
