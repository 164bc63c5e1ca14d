// Attention of single rows, as generation steps have them, without the cost of
// a library call for each sequence. A row's bits depend on its own sequence
// alone. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_ROW_ATTENTION_H_
#define DISSONANCE_COMPUTE_MODEL_ROW_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dissonance {

struct AttentionScores {
  double scale = 1.0;    // of q k^T
  double softcap = 0.0;  // c * tanh(score / c); 0: none
};

// A row and the keys and values that it sees: [keys, kv_heads, head_dim].
struct RowQuery {
  int64_t row = 0;
  at::Tensor keys;
  at::Tensor values;
};

// Whether AttendRows computes with tensors like it: on the CPU, float32,
// float64 or bfloat16.
bool HasRowAttention(const at::Tensor& q);

// Writes the listed rows of z [rows, heads, head_dim] from those of q [rows,
// heads, head_dim]; computed in float32 (float64 for float64). Memory: O(keys)
// a thread. REQUIRES: HasRowAttention(q), at least one key a row.
void AttendRows(const std::vector<RowQuery>& queries, AttentionScores scores,
                const at::Tensor& q, const at::Tensor& z);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_ROW_ATTENTION_H_
