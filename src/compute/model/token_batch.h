// One step's work for the decoder: rows of several sequences, packed without
// padding. Prompt rows come first, then rows of generation steps. Built by the
// engine for one step and dropped after it.
#ifndef DISSONANCE_COMPUTE_MODEL_TOKEN_BATCH_H_
#define DISSONANCE_COMPUTE_MODEL_TOKEN_BATCH_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "src/compute/model/kv_cache.h"

namespace dissonance {

inline constexpr int64_t kAttentionTile = 64;

// Consecutive rows of one sequence. Its first `linear_count` rows continue the
// tokens held in `cache` one after another; each sees itself and all before.
// The rows after them form a tree that hangs on the last linear row: row
// linear_count + i sees the linear tokens, its ancestors and itself. This is
// how many continuations share one prompt in one pass.
struct Segment {
  int64_t row_begin = 0;
  int64_t linear_count = 0;
  // Parent of each tree row as an index into the tree; -1: the last linear
  // row. Parents come before their children.
  std::vector<int32_t> tree_parents;
  // Tokens before the first row, and where this step's are kept. Null: nothing
  // is held and nothing is kept. Tree rows are never kept.
  KvCache* cache = nullptr;

  int64_t row_count() const {
    return linear_count + static_cast<int64_t>(tree_parents.size());
  }
  int64_t past_count() const { return cache == nullptr ? 0 : cache->length(); }
};

struct TokenBatch {
  std::vector<int64_t> token_ids;  // [rows]
  std::vector<int64_t> positions;  // [rows]
  std::vector<Segment> segments;   // cover the rows in order
  int64_t prefill_rows = 0;        // rows before the first decode row
  // A segment's rows attend in tiles that begin at multiples of this position.
  // Numbers depend on it, to the last bits.
  int64_t attention_tile = kAttentionTile;
  bool reproducible = true;
  // The pass begins with this block, and with `residual` [rows, d_model], which
  // it may write to, instead of the tokens' embedding. Caches get nothing of
  // the blocks before it. 0: with the embedding.
  int64_t first_block = 0;
  at::Tensor residual = {};

  int64_t row_count() const { return static_cast<int64_t>(token_ids.size()); }
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_TOKEN_BATCH_H_
