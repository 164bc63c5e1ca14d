// Causal attention of one segment at a time, so that a row's result depends on
// its own sequence only. Rows attend in tiles that begin at multiples of a
// fixed position, so that it does not depend on how many of the sequence's rows
// are computed at once either. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_ATTENTION_H_
#define DISSONANCE_COMPUTE_MODEL_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "src/compute/model/row_attention.h"
#include "src/compute/model/token_batch.h"

namespace dissonance {

// Linear rows that attend together.
struct AttentionTile {
  int64_t row_begin = 0;  // within the segment
  int64_t row_count = 0;
  int64_t key_begin = 0;  // first key that its first row may see
  int64_t key_count = 0;  // past and own keys up to the last row's
  // [rows, keys], true: may be seen. Undefined for a row that sees all.
  at::Tensor mask = {};
};

// What a segment's rows may see, made once a step and used by every block of
// the same window.
struct SegmentMask {
  std::vector<AttentionTile> tiles;
  // [tree rows, past + linear + tree rows], true: may be seen. Undefined
  // without tree rows.
  at::Tensor tree = {};
};

// `tile`: rows of a tile; `window` 0: no limit. `device` is where the masks are
// wanted.
SegmentMask MakeSegmentMask(const Segment& segment, int64_t tile,
                            int64_t window, const at::Device& device);

// Attention of a segment's rows over the keys and values held for it and its
// own. q [rows, heads, head_dim]; k, v [rows, kv_heads, head_dim], all after
// rotary; block chooses the cache's layer. Writes z [rows, heads, head_dim].
// Keeps the linear rows' k and v in the segment's cache, if it has one.
void AttendSegment(const Segment& segment, const SegmentMask& mask,
                   AttentionScores scores, int64_t block, const at::Tensor& q,
                   const at::Tensor& k, const at::Tensor& v,
                   const at::Tensor& z);

// The part of it that is the tree rows', once the linear rows' keys are kept.
void AttendTree(const Segment& segment, const SegmentMask& mask,
                AttentionScores scores, int64_t block, const at::Tensor& q,
                const at::Tensor& k, const at::Tensor& v, const at::Tensor& z);

// The same for a segment of one row, up to the keys and values that AttendRows
// takes: for many of them at once.
RowQuery MakeRowQuery(const Segment& segment, const SegmentMask& mask,
                      int64_t block, const at::Tensor& k, const at::Tensor& v);

// The probabilities that AttendSegment weighs the values with, of the linear
// rows after it ran: [rows, heads, past + linear rows], 0 where a row may not
// see. Memory: O(heads * rows * keys).
at::Tensor AttentionPattern(const Segment& segment, const SegmentMask& mask,
                            AttentionScores scores, int64_t block,
                            const at::Tensor& q, const at::Tensor& k);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_ATTENTION_H_
