// Caches in slabs, and which rows and keys one call for many sequences gets:
// with the call written out, against attention by segment.
#include "src/compute/model/flash_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "src/compute/model/attention.h"
#include "tests/testing/compute_goldens.h"
#include "tests/testing/random_tensor.h"

namespace dissonance {
namespace {

constexpr double kScale = 0.3;

// What the device's call promises, in plain operations.
at::Tensor WrittenOut(const FlashGroup& group, const at::Tensor& queries,
                      const at::Tensor& keys, const at::Tensor& values,
                      double scale, int64_t window) {
  at::Tensor z = at::empty_like(queries);
  const auto number = [](const at::Tensor& x, int64_t i) {
    return x[i].item<int64_t>();
  };
  const int64_t shared = queries.size(1) / keys.size(1);
  for (int64_t s = 0; s < group.key_counts.size(0); ++s) {
    const int64_t count = number(group.key_counts, s);
    const int64_t begin = number(group.query_begins, s);
    const int64_t end = number(group.query_begins, s + 1);
    EXPECT_LE(end - begin, group.most_queries);
    EXPECT_LE(count, group.most_keys);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t seen = count - (end - 1 - row);
      const int64_t first =
          window > 0 ? std::max<int64_t>(seen - window, 0) : 0;
      for (int64_t head = 0; head < queries.size(1); ++head) {
        const auto of = [&](const at::Tensor& x) {
          return x.narrow(0, number(group.key_begins, s) + first, seen - first)
              .select(1, head / shared);
        };
        const at::Tensor scores =
            at::matmul(of(keys), queries[row][head]) * scale;
        z[row][head].copy_(at::matmul(at::softmax(scores, 0), of(values)));
      }
    }
  }
  return z;
}

class FlashAttentionTest : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    model_ = LoadGoldenModel(ReadGolden("models/llama").directory + "/model",
                             at::kDouble);
    ASSERT_NE(model_, nullptr);
  }
  const DecoderSpec& spec() const { return model_->spec(); }
  at::TensorOptions options() const {
    return at::TensorOptions().dtype(at::kDouble);
  }
  // The same keys and values for a cache that holds so many tokens.
  void Fill(KvCache& cache, int64_t tokens) const {
    const auto random = [&](uint64_t seed) {
      return RandomTensor({tokens, spec().kv_head_count, spec().head_dim},
                          at::kDouble, seed);
    };
    for (int64_t block = 0; block < spec().block_count(); ++block) {
      cache.Append(block, random(1), random(2));
    }
    cache.Advance(tokens);
  }

  std::shared_ptr<const Model> model_;
};

TEST_P(FlashAttentionTest, IsAttentionBySegment) {
  const int64_t window = GetParam();
  KvPool pool(spec(), options(), 64);
  // In two slabs, with a hole between.
  std::vector<KvCache> caches;
  caches.emplace_back(pool.Take(20));
  {
    const KvRange gone = pool.Take(10);
    caches.emplace_back(pool.Take(30));
  }
  caches.emplace_back(pool.Take(40));
  std::vector<KvCache> apart;
  TokenBatch batch;
  // Piece of a prompt, whole prompt, two steps of generation.
  const std::vector<std::pair<int64_t, int64_t>> shapes = {
      {7, 9}, {0, 11}, {12, 1}, {25, 1}};
  std::vector<Segment> by_segment;
  int64_t rows = 0;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const auto [past, count] = shapes[i];
    Segment segment;
    segment.row_begin = rows;
    segment.linear_count = count;
    rows += count;
    by_segment.push_back(segment);
    if (i == 1) {
      batch.segments.push_back(segment);
      continue;
    }
    const size_t own = i == 0 ? 0 : i - 1;
    Fill(caches[own], past);
    segment.cache = &caches[own];
    batch.segments.push_back(segment);
  }
  apart.reserve(shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    if (i == 1) continue;
    Fill(apart.emplace_back(spec(), 40, options()), shapes[i].first);
    by_segment[i].cache = &apart.back();
  }
  batch.prefill_rows = 20;
  const auto random = [&](int64_t heads, uint64_t seed) {
    return RandomTensor({rows, heads, spec().head_dim}, at::kDouble, seed);
  };
  const at::Tensor q = random(spec().head_count, 3);
  const at::Tensor k = random(spec().kv_head_count, 4);
  const at::Tensor v = random(spec().kv_head_count, 5);
  at::Tensor z = at::zeros_like(q);
  const std::vector<FlashGroup> groups = MakeFlashGroups(batch, at::kCPU);
  EXPECT_EQ(groups.size(), 4U);
  for (const FlashGroup& group : groups) {
    FlashAttend(group, WrittenOut, kScale, window, 1, q, k, v, z);
  }
  at::Tensor expected = at::zeros_like(q);
  for (const Segment& segment : by_segment) {
    const auto own = [&segment](const at::Tensor& x) {
      return x.narrow(0, segment.row_begin, segment.row_count());
    };
    AttendSegment(segment, MakeSegmentMask(segment, 64, window, at::kCPU),
                  {.scale = kScale}, 1, own(q), own(k), own(v), own(expected));
  }
  EXPECT_LE(MaxAbsDifference(z, expected), 1e-13);
  EXPECT_TRUE(caches[0].Keys(1, 16).equal(apart[0].Keys(1, 16)));
  EXPECT_TRUE(caches[2].Values(1, 26).equal(apart[2].Values(1, 26)));
}

INSTANTIATE_TEST_SUITE_P(Windows, FlashAttentionTest, testing::Values(0, 5));

TEST(KvSlabTest, RangesAreGivenBackAndJoined) {
  const auto model = LoadGoldenModel(
      ReadGolden("models/llama").directory + "/model", at::kFloat);
  KvSlab slab(model->spec(), 100, at::TensorOptions());
  EXPECT_EQ(slab.Take(30), 0);
  EXPECT_EQ(slab.Take(40), 30);
  EXPECT_EQ(slab.Take(30), 70);
  EXPECT_EQ(slab.Take(1), -1);
  slab.Give(30, 40);
  EXPECT_EQ(slab.Take(41), -1);
  slab.Give(70, 30);
  EXPECT_EQ(slab.Take(70), 30);
  slab.Give(30, 70);
  slab.Give(0, 30);
  EXPECT_EQ(slab.Take(100), 0);
}

}  // namespace
}  // namespace dissonance
