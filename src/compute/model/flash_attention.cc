#include "src/compute/model/flash_attention.h"

#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace dissonance {
namespace {

// What a group's tensors are made of.
struct Places {
  std::vector<int64_t> rows;
  std::vector<int64_t> places;
  std::vector<int64_t> query_begins = {0};
  std::vector<int64_t> key_begins;
  std::vector<int64_t> key_counts;
};

void Add(const Segment& segment, Places& places, FlashGroup& group) {
  const int64_t begin = segment.cache == nullptr
                            ? segment.row_begin
                            : segment.cache->range().begin();
  const int64_t past = segment.past_count();
  for (int64_t i = 0; i < segment.linear_count; ++i) {
    places.rows.push_back(segment.row_begin + i);
    places.places.push_back(begin + past + i);
  }
  const int64_t keys = past + segment.linear_count;
  places.query_begins.push_back(places.query_begins.back() +
                                segment.linear_count);
  places.key_begins.push_back(begin);
  places.key_counts.push_back(keys);
  group.most_queries = std::max(group.most_queries, segment.linear_count);
  group.most_keys = std::max(group.most_keys, keys);
}

}  // namespace

bool HasFlashAttention(const at::TensorOptions& options, int64_t head_dim,
                       AttentionScores scores) {
  return options.device().is_cuda() &&
         options.dtype().toScalarType() == at::kBFloat16 && head_dim % 8 == 0 &&
         head_dim <= 256 && scores.softcap == 0.0;
}

std::vector<FlashGroup> MakeFlashGroups(const TokenBatch& batch,
                                        const at::Device& device) {
  std::map<std::pair<const KvSlab*, bool>, std::vector<const Segment*>> by_slab;
  for (const Segment& segment : batch.segments) {
    if (segment.linear_count == 0) continue;
    const KvSlab* slab =
        segment.cache == nullptr ? nullptr : &segment.cache->range().slab();
    by_slab[{slab, segment.row_begin >= batch.prefill_rows}].push_back(
        &segment);
  }
  std::vector<FlashGroup> groups;
  for (const auto& [key, segments] : by_slab) {
    FlashGroup& group = groups.emplace_back();
    group.slab = key.first;
    Places places;
    for (const Segment* segment : segments) Add(*segment, places, group);
    // Lengths come from key_counts: the last begin is never read as an end.
    places.key_begins.push_back(places.key_begins.back());
    group.rows = at::tensor(places.rows, at::kLong).to(device);
    group.places = at::tensor(places.places, at::kLong).to(device);
    group.query_begins = at::tensor(places.query_begins, at::kInt).to(device);
    group.key_begins = at::tensor(places.key_begins, at::kInt).to(device);
    group.key_counts = at::tensor(places.key_counts, at::kInt).to(device);
  }
  return groups;
}

at::Tensor TorchFlashKernel(const FlashGroup& group, const at::Tensor& queries,
                            const at::Tensor& keys, const at::Tensor& values,
                            double scale, int64_t window) {
  // A limit to the right, which being causal implies, keeps torch from
  // splitting keys by how many sequences there are.
  const int64_t left = window > 0 ? window - 1 : -1;
  const int64_t right = 0;
  return std::get<0>(at::_flash_attention_forward(
      queries, keys, values, group.query_begins, group.key_begins,
      group.most_queries, group.most_keys, /*dropout_p=*/0.0,
      /*is_causal=*/true, /*return_debug_mask=*/false, scale, left, right,
      group.key_counts));
}

void FlashAttend(const FlashGroup& group, FlashKernel kernel, double scale,
                 int64_t window, int64_t block, const at::Tensor& q,
                 const at::Tensor& k, const at::Tensor& v, at::Tensor& z) {
  // Segments lie one behind another, so all rows are in their order.
  const bool has_all = group.rows.size(0) == q.size(0);
  const auto own = [&](const at::Tensor& x) {
    return has_all ? x : x.index_select(0, group.rows);
  };
  at::Tensor keys = k;
  at::Tensor values = v;
  if (group.slab != nullptr) {
    keys = group.slab->keys(block);
    values = group.slab->values(block);
    keys.index_copy_(0, group.places, own(k));
    values.index_copy_(0, group.places, own(v));
  }
  const at::Tensor own_z = kernel(group, own(q), keys, values, scale, window);
  if (has_all) {
    z = own_z;
  } else {
    z.index_copy_(0, group.rows, own_z);
  }
}

}  // namespace dissonance
