// Angles of the rotary position embedding, computed once for each position.
// Thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_ROTARY_H_
#define DISSONANCE_COMPUTE_MODEL_ROTARY_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "src/compute/model/decoder_spec.h"

namespace dissonance {

// Inverse frequencies [width / 2] with the rope's scaling, in float32 as
// transformers computes them.
at::Tensor InverseFrequencies(const RopeSpec& rope);

// cos and sin of position * inverse frequency for positions 0, 1, ...; grows
// by whole blocks, so that a position's value never changes.
class RotaryTable {
 public:
  RotaryTable(const RopeSpec& rope, const at::TensorOptions& options);

  struct Angles {
    at::Tensor cos;  // [rows, width / 2]
    at::Tensor sin;  // [rows, width / 2]
  };
  // Angles of `positions` [rows] (int64), all below `limit`.
  Angles At(const at::Tensor& positions, int64_t limit) const
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Grow(int64_t limit) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const at::Tensor inverse_frequencies_;  // [width / 2], float32
  const at::TensorOptions options_;
  mutable absl::Mutex mutex_;
  // [positions, width / 2]
  mutable at::Tensor cos_ ABSL_GUARDED_BY(mutex_);
  mutable at::Tensor sin_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_ROTARY_H_
