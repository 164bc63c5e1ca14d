// Causal attention of one segment at a time, so that a row's result depends on
// its own sequence only. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_ATTENTION_H_
#define DISSONANCE_COMPUTE_MODEL_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "src/compute/model/token_batch.h"

namespace dissonance {

// What a segment's rows may see, made once a step and used by every block of
// the same window.
struct SegmentMask {
  // [tree rows, past + linear + tree rows], true: may be seen. Undefined
  // without tree rows.
  at::Tensor tree;
  // [linear rows, past + linear rows]; undefined where plain causal attention
  // (no past, no window in reach) or a single row that sees all will do.
  at::Tensor linear;
};

struct AttentionScores {
  double scale = 1.0;    // of q k^T
  double softcap = 0.0;  // c * tanh(score / c); 0: none
};

// `window` 0: no limit. `device` is where the masks are wanted.
SegmentMask MakeSegmentMask(const Segment& segment, int64_t window,
                            const at::Device& device);

// Attention of a segment's rows over the keys and values held for it and its
// own. q [rows, heads, head_dim]; k, v [rows, kv_heads, head_dim], all after
// rotary; block chooses the cache's layer. Writes z [rows, heads, head_dim].
// Keeps the linear rows' k and v in the segment's cache, if it has one.
void AttendSegment(const Segment& segment, const SegmentMask& mask,
                   AttentionScores scores, int64_t block, const at::Tensor& q,
                   const at::Tensor& k, const at::Tensor& v,
                   const at::Tensor& z);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_ATTENTION_H_
