#include "src/compute/model/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/logical_not.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>

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

at::Tensor MakeLinearMask(const Segment& segment, int64_t window) {
  const int64_t past = segment.past_count();
  const int64_t rows = segment.linear_count;
  at::Tensor mask = at::zeros({rows, past + rows}, at::kBool);
  bool* row = mask.mutable_data_ptr<bool>();
  for (int64_t i = 0; i < rows; ++i, row += past + rows) {
    const int64_t first = window > 0 ? past + i - window + 1 : 0;
    for (int64_t key = std::max<int64_t>(first, 0); key <= past + i; ++key) {
      row[key] = true;
    }
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

// Attention with soft-capped scores, which torch's own has not. Memory:
// O(heads * rows * keys).
at::Tensor AttendCapped(const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, const at::Tensor& allowed,
                        AttentionScores scores) {
  const int64_t heads = q.size(1);
  at::Tensor logits =
      at::matmul(Headed(q), Repeat(k, heads).transpose(2, 3)) * scores.scale;
  logits = at::tanh(logits / scores.softcap) * scores.softcap;
  logits.masked_fill_(at::logical_not(allowed),
                      -std::numeric_limits<double>::infinity());
  const at::ScalarType dtype = q.scalar_type();
  const at::Tensor pattern =
      at::softmax(logits, -1, dtype == at::kDouble ? at::kDouble : at::kFloat)
          .to(dtype);
  return at::matmul(pattern, Repeat(v, heads));
}

// Rows that see all keys up to their own, which end with the last row's.
at::Tensor CausalMask(int64_t rows, int64_t keys, const at::Device& device) {
  return at::ones({rows, keys}, at::TensorOptions(at::kBool).device(device))
      .tril(keys - rows);
}

// `mask` undefined: causal.
void Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
            const at::Tensor& mask, AttentionScores scores,
            const at::Tensor& z) {
  const int64_t rows = q.size(0);
  at::Tensor out;
  if (scores.softcap > 0) {
    out = AttendCapped(
        q, k, v,
        mask.defined() ? mask : CausalMask(rows, k.size(0), q.device()),
        scores);
  } else {
    std::optional<at::Tensor> allowed;
    if (mask.defined()) allowed = mask;
    const bool causal = !mask.defined() && rows > 1;
    const bool grouped = q.size(1) != k.size(1);
    out = at::scaled_dot_product_attention(
        Headed(q), Headed(k), Headed(v), allowed, /*dropout_p=*/0.0, causal,
        scores.scale, /*enable_gqa=*/grouped);
  }
  z.copy_(out.squeeze(0).transpose(0, 1));
}

}  // namespace

SegmentMask MakeSegmentMask(const Segment& segment, int64_t window,
                            const at::Device& device) {
  SegmentMask mask;
  if (!segment.tree_parents.empty()) {
    mask.tree = MakeTreeMask(segment, window).to(device);
  }
  const int64_t past = segment.past_count();
  const bool windowed = window > 0 && past + segment.linear_count > window;
  const bool plain = past == 0 || segment.linear_count == 1;
  if (segment.linear_count > 0 && (windowed || !plain)) {
    mask.linear = MakeLinearMask(segment, window).to(device);
  }
  return mask;
}

void AttendSegment(const Segment& segment, const SegmentMask& mask,
                   AttentionScores scores, int64_t block, const at::Tensor& q,
                   const at::Tensor& k, const at::Tensor& v,
                   const at::Tensor& z) {
  const int64_t past = segment.past_count();
  const int64_t linear = segment.linear_count;
  at::Tensor keys = k.narrow(0, 0, linear);
  at::Tensor values = v.narrow(0, 0, linear);
  if (segment.cache != nullptr) {
    segment.cache->Append(block, keys, values);
    keys = segment.cache->Keys(block, past + linear);
    values = segment.cache->Values(block, past + linear);
  }
  if (linear > 0) {
    Attend(q.narrow(0, 0, linear), keys, values, mask.linear, scores,
           z.narrow(0, 0, linear));
  }
  const int64_t tree = segment.row_count() - linear;
  if (tree == 0) return;
  if (segment.cache == nullptr) {
    // The tree's keys follow the linear ones in memory: no copy.
    keys = k;
    values = v;
  } else {
    keys = at::cat({keys, k.narrow(0, linear, tree)});
    values = at::cat({values, v.narrow(0, linear, tree)});
  }
  Attend(q.narrow(0, linear, tree), keys, values, mask.tree, scores,
         z.narrow(0, linear, tree));
}

}  // namespace dissonance
