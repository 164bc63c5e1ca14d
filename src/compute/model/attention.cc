#include "src/compute/model/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/logical_not.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <optional>

namespace dissonance {
namespace {

// Position of each tree row relative to the last linear row, from 1.
std::vector<int64_t> TreeDepths(const std::vector<int32_t>& parents) {
  std::vector<int64_t> depths;
  for (const int32_t parent : parents) {
    depths.push_back(parent < 0 ? 1 : depths[static_cast<size_t>(parent)] + 1);
  }
  return depths;
}

at::Tensor MakeTreeMask(const Segment& segment, int64_t window) {
  const int64_t seen = segment.past_count() + segment.linear_count;
  const auto tree = static_cast<int64_t>(segment.tree_parents.size());
  const std::vector<int64_t> depths = TreeDepths(segment.tree_parents);
  at::Tensor mask = at::zeros({tree, seen + tree}, at::kBool);
  bool* row = mask.mutable_data_ptr<bool>();
  for (int64_t i = 0; i < tree; ++i, row += seen + tree) {
    const int64_t position = seen - 1 + depths[static_cast<size_t>(i)];
    const int64_t first = window > 0 ? position - window + 1 : 0;
    for (int64_t key = std::max<int64_t>(first, 0); key < seen; ++key) {
      row[key] = true;
    }
    for (int64_t node = i; node >= 0;
         node = segment.tree_parents[static_cast<size_t>(node)]) {
      const int64_t key = seen - 1 + depths[static_cast<size_t>(node)];
      row[seen + node] = key >= first;
    }
  }
  return mask;
}

// Which of `keys` the rows from `position` on may see.
at::Tensor MakeTileMask(int64_t position, int64_t rows, int64_t keys,
                        int64_t window) {
  at::Tensor mask = at::zeros({rows, keys}, at::kBool);
  bool* row = mask.mutable_data_ptr<bool>();
  for (int64_t i = position; i < position + rows; ++i, row += keys) {
    const int64_t first = window > 0 ? std::max<int64_t>(i - window + 1, 0) : 0;
    std::fill(row + first, row + i + 1, true);
  }
  return mask;
}

// [rows, heads, head_dim] as the [1, heads, rows, head_dim] that the kernels
// take; a view.
at::Tensor Headed(const at::Tensor& x) {
  return x.transpose(0, 1).unsqueeze(0);
}

// [1, heads, keys, head_dim] with each key/value head repeated for its queries.
at::Tensor Repeat(const at::Tensor& x, int64_t heads) {
  const at::Tensor headed = Headed(x);
  return x.size(1) == heads
             ? headed
             : headed.repeat_interleave(heads / x.size(1), /*dim=*/1);
}

// Probabilities [1, heads, rows, keys] of the keys that may be seen; `mask`
// undefined: all.
at::Tensor Pattern(const at::Tensor& q, const at::Tensor& k,
                   const at::Tensor& mask, AttentionScores scores) {
  at::Tensor logits =
      at::matmul(Headed(q), Repeat(k, q.size(1)).transpose(2, 3)) *
      scores.scale;
  if (scores.softcap > 0) {
    logits = at::tanh(logits / scores.softcap) * scores.softcap;
  }
  if (mask.defined()) {
    logits.masked_fill_(at::logical_not(mask),
                        -std::numeric_limits<double>::infinity());
  }
  const at::ScalarType dtype = q.scalar_type();
  return at::softmax(logits, -1,
                     dtype == at::kDouble ? at::kDouble : at::kFloat)
      .to(dtype);
}

// `mask` undefined: all keys may be seen.
void Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
            const at::Tensor& mask, AttentionScores scores,
            const at::Tensor& z) {
  at::Tensor out;
  if (scores.softcap > 0) {
    // torch's own has no soft-capped scores.
    out = at::matmul(Pattern(q, k, mask, scores), Repeat(v, q.size(1)));
  } else {
    std::optional<at::Tensor> allowed;
    if (mask.defined()) allowed = mask;
    const bool grouped = q.size(1) != k.size(1);
    out = at::scaled_dot_product_attention(
        Headed(q), Headed(k), Headed(v), allowed, /*dropout_p=*/0.0,
        /*is_causal=*/false, scores.scale, /*enable_gqa=*/grouped);
  }
  z.copy_(out.squeeze(0).transpose(0, 1));
}

struct KeysAndValues {
  at::Tensor keys;    // [past + linear, kv_heads, head_dim]
  at::Tensor values;  // likewise
};

// Puts the linear rows' k and v behind those that the segment's cache holds.
KeysAndValues KeepLinear(const Segment& segment, int64_t block,
                         const at::Tensor& k, const at::Tensor& v) {
  const int64_t linear = segment.linear_count;
  const at::Tensor keys = k.narrow(0, 0, linear);
  const at::Tensor values = v.narrow(0, 0, linear);
  if (segment.cache == nullptr) return {keys, values};
  segment.cache->Append(block, keys, values);
  const int64_t count = segment.past_count() + linear;
  return {segment.cache->Keys(block, count),
          segment.cache->Values(block, count)};
}

// Of a tile of one row.
RowQuery RowQueryOf(const AttentionTile& tile, const at::Tensor& keys,
                    const at::Tensor& values, int64_t row) {
  const int64_t seen = tile.key_count - tile.key_begin;
  return {.row = row,
          .keys = keys.narrow(0, tile.key_begin, seen),
          .values = values.narrow(0, tile.key_begin, seen)};
}

}  // namespace

SegmentMask MakeSegmentMask(const Segment& segment, int64_t tile,
                            int64_t window, const at::Device& device) {
  SegmentMask mask;
  if (!segment.tree_parents.empty()) {
    mask.tree = MakeTreeMask(segment, window).to(device);
  }
  const int64_t past = segment.past_count();
  for (int64_t row = 0; row < segment.linear_count;) {
    const int64_t count =
        std::min(tile - (past + row) % tile, segment.linear_count - row);
    AttentionTile& own = mask.tiles.emplace_back();
    own = {.row_begin = row,
           .row_count = count,
           .key_begin =
               window > 0 ? std::max<int64_t>(past + row - window + 1, 0) : 0,
           .key_count = past + row + count};
    if (count > 1 || (window > 0 && own.key_count > window)) {
      own.mask =
          MakeTileMask(past + row, count, own.key_count, window).to(device);
    }
    row += count;
  }
  return mask;
}

void AttendSegment(const Segment& segment, const SegmentMask& mask,
                   AttentionScores scores, int64_t block, const at::Tensor& q,
                   const at::Tensor& k, const at::Tensor& v,
                   const at::Tensor& z) {
  const auto [keys, values] = KeepLinear(segment, block, k, v);
  for (const AttentionTile& tile : mask.tiles) {
    if (tile.row_count == 1 && HasRowAttention(q)) {
      // As it would be in a step of its own.
      AttendRows({RowQueryOf(tile, keys, values, tile.row_begin)}, scores, q,
                 z);
      continue;
    }
    const auto own = [&tile](const at::Tensor& x) {
      return x.narrow(0, tile.row_begin, tile.row_count);
    };
    const auto seen = [&tile](const at::Tensor& x) {
      return x.narrow(0, 0, tile.key_count);
    };
    Attend(own(q), seen(keys), seen(values), tile.mask, scores, own(z));
  }
  AttendTree(segment, mask, scores, block, q, k, v, z);
}

void AttendTree(const Segment& segment, const SegmentMask& mask,
                AttentionScores scores, int64_t block, const at::Tensor& q,
                const at::Tensor& k, const at::Tensor& v, const at::Tensor& z) {
  const int64_t linear = segment.linear_count;
  const int64_t tree = segment.row_count() - linear;
  if (tree == 0) return;
  // Without a cache the tree's keys follow the linear ones in memory: no copy.
  at::Tensor keys = k;
  at::Tensor values = v;
  if (segment.cache != nullptr) {
    const int64_t count = segment.past_count() + linear;
    keys =
        at::cat({segment.cache->Keys(block, count), k.narrow(0, linear, tree)});
    values = at::cat(
        {segment.cache->Values(block, count), v.narrow(0, linear, tree)});
  }
  Attend(q.narrow(0, linear, tree), keys, values, mask.tree, scores,
         z.narrow(0, linear, tree));
}

RowQuery MakeRowQuery(const Segment& segment, const SegmentMask& mask,
                      int64_t block, const at::Tensor& k, const at::Tensor& v) {
  const KeysAndValues held = KeepLinear(segment, block, k, v);
  return RowQueryOf(mask.tiles.front(), held.keys, held.values,
                    segment.row_begin);
}

at::Tensor AttentionPattern(const Segment& segment, const SegmentMask& mask,
                            AttentionScores scores, int64_t block,
                            const at::Tensor& q, const at::Tensor& k) {
  const int64_t count = segment.past_count() + segment.linear_count;
  const at::Tensor keys = segment.cache == nullptr
                              ? k.narrow(0, 0, count)
                              : segment.cache->Keys(block, count);
  at::Tensor pattern =
      at::zeros({segment.linear_count, q.size(1), count}, q.options());
  for (const AttentionTile& tile : mask.tiles) {
    const at::Tensor own =
        Pattern(q.narrow(0, tile.row_begin, tile.row_count),
                keys.narrow(0, 0, tile.key_count), tile.mask, scores);
    pattern.narrow(0, tile.row_begin, tile.row_count)
        .narrow(2, 0, tile.key_count)
        .copy_(own.squeeze(0).transpose(0, 1));
  }
  return pattern;
}

}  // namespace dissonance
