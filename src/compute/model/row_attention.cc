#include "src/compute/model/row_attention.h"

#include <c10/util/BFloat16.h>

#include <algorithm>

#include "src/compute/model/dot_kernels.h"
#include "src/compute/tensor/parallel.h"

namespace dissonance {
namespace {

// Fewer numbers read than that are not worth waking a thread for.
constexpr int64_t kThreadNumbers = 1 << 15;

template <typename Stored, typename Wide>
using Kernel = void (*)(const QueryAttention<Stored, Wide>&);

// Room for one head's query, output and scores.
template <typename Wide>
struct Scratch {
  explicit Scratch(int64_t width)
      : query(static_cast<size_t>(width)), out(static_cast<size_t>(width)) {}
  std::vector<Wide> query;
  std::vector<Wide> out;
  std::vector<Wide> scores = {};
};

template <typename T, typename Stored, typename Wide>
void AttendHead(const RowQuery& query, int64_t head, AttentionScores scores,
                const at::Tensor& q, const at::Tensor& z,
                Kernel<Stored, Wide> kernel, Scratch<Wide>& scratch) {
  const int64_t width = q.size(2);
  const int64_t kv_head = head / (q.size(1) / query.keys.size(1));
  const T* from =
      q.const_data_ptr<T>() + query.row * q.stride(0) + head * q.stride(1);
  std::copy_n(from, width, scratch.query.begin());
  const int64_t count = query.keys.size(0);
  scratch.scores.resize(static_cast<size_t>(count));
  const auto of_head = [&](const at::Tensor& x) {
    return reinterpret_cast<const Stored*>(x.const_data_ptr<T>() +
                                           kv_head * x.stride(1));
  };
  kernel({.query = scratch.query.data(),
          .keys = of_head(query.keys),
          .values = of_head(query.values),
          .key_stride = query.keys.stride(0),
          .value_stride = query.values.stride(0),
          .count = count,
          .width = width,
          .scale = static_cast<Wide>(scores.scale),
          .softcap = static_cast<Wide>(scores.softcap),
          .scores = scratch.scores.data(),
          .out = scratch.out.data()});
  T* to =
      z.mutable_data_ptr<T>() + query.row * z.stride(0) + head * z.stride(1);
  std::transform(scratch.out.begin(), scratch.out.end(), to,
                 [](Wide x) { return static_cast<T>(x); });
}

template <typename T, typename Stored, typename Wide>
void Attend(const std::vector<RowQuery>& queries, AttentionScores scores,
            const at::Tensor& q, const at::Tensor& z,
            Kernel<Stored, Wide> kernel) {
  const int64_t heads = q.size(1);
  int64_t keys = 0;
  for (const RowQuery& query : queries) keys += query.keys.size(0);
  const auto count = static_cast<int64_t>(queries.size());
  const int64_t numbers_a_head = 2 * q.size(2) * keys / count;
  ParallelFor(0, count * heads, kThreadNumbers / numbers_a_head + 1,
              [&](int64_t begin, int64_t end) {
                Scratch<Wide> scratch(q.size(2));
                for (int64_t i = begin; i < end; ++i) {
                  AttendHead<T>(queries[static_cast<size_t>(i / heads)],
                                i % heads, scores, q, z, kernel, scratch);
                }
              });
}

}  // namespace

bool HasRowAttention(const at::Tensor& q) {
  const at::ScalarType type = q.scalar_type();
  return q.is_cpu() && q.stride(2) == 1 &&
         (type == at::kFloat || type == at::kDouble || type == at::kBFloat16);
}

void AttendRows(const std::vector<RowQuery>& queries, AttentionScores scores,
                const at::Tensor& q, const at::Tensor& z) {
  if (queries.empty()) return;
  const DotKernels& kernels = BestDotKernels();
  switch (q.scalar_type()) {
    case at::kFloat:
      Attend<float>(queries, scores, q, z, kernels.attend_f32);
      break;
    case at::kDouble:
      Attend<double>(queries, scores, q, z, kernels.attend_f64);
      break;
    default:
      Attend<c10::BFloat16>(queries, scores, q, z, kernels.attend_bf16);
  }
}

}  // namespace dissonance
