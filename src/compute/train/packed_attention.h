// Attention of documents packed one behind another without padding, each over
// itself alone, with a backward pass. Stateless, thread safe.
//
//   at::Tensor z = PackedAttention({.begins = {0, 120, 300}}, settings, q, k,
//   v);
#ifndef DISSONANCE_COMPUTE_TRAIN_PACKED_ATTENTION_H_
#define DISSONANCE_COMPUTE_TRAIN_PACKED_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "src/compute/model/row_attention.h"

namespace dissonance {

// Where documents begin among the rows, and where the last one ends. Neighbours
// of equal length are computed together.
struct PackedRows {
  std::vector<int64_t> begins;  // [documents + 1]
};

// Causal attention, `window` 0: no limit. q [rows, heads, head_dim]; k, v
// [rows, kv_heads, head_dim], after rotary. Returns [rows, heads, head_dim].
// Keeps q, k, v and the result for the backward pass, and O(rows * heads);
// with capped scores also O(heads * length^2) of each document.
at::Tensor PackedAttention(const PackedRows& rows, AttentionScores scores,
                           int64_t window, const at::Tensor& q,
                           const at::Tensor& k, const at::Tensor& v);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_PACKED_ATTENTION_H_
