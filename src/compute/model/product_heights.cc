#include "src/compute/model/product_heights.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/neg.h>
#include <ATen/ops/randperm.h>

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "src/compute/model/onednn_product.h"

namespace dissonance {
namespace {

constexpr std::array<int64_t, 8> kHeights = {1,   16,  32,  64,
                                             128, 256, 512, 1024};
// On the CPU single rows have a product of their own.
constexpr int64_t kLowestOnCpu = 16;
constexpr int64_t kMostWeightElements = int64_t{1} << 28;

// Device type and index, dtype, threads, out, in, bias, reference, height.
using Product =
    std::tuple<int, int, int, int, int64_t, int64_t, bool, int64_t, int64_t>;

Product ProductOf(const at::Tensor& weight, bool has_bias, int64_t reference,
                  int64_t height) {
  return {static_cast<int>(weight.device().type()),
          weight.device().index(),
          static_cast<int>(weight.scalar_type()),
          at::get_num_threads(),
          weight.size(0),
          weight.size(1),
          has_bias,
          reference,
          height};
}

constexpr int64_t kPeriod = 8191;

// [rows, columns] of random numbers that repeat with a prime period: no two
// rows are alike, and filling costs no more than copying, where `like` is.
at::Tensor RandomRows(int64_t rows, int64_t columns, uint64_t seed,
                      const at::Tensor& like) {
  const at::Tensor pool =
      at::empty({kPeriod}, at::kFloat)
          .normal_(0, 1, at::make_generator<at::CPUGeneratorImpl>(seed))
          .to(like.options());
  return pool.repeat({rows * columns / kPeriod + 1})
      .narrow(0, 0, rows * columns)
      .view({rows, columns});
}

// Operands whose exact product is zero, as each term occurs once with either
// sign, at shuffled places: what remains is rounding, which another order of
// summation changes everywhere, even in bfloat16.
struct Operands {
  at::Tensor x;
  at::Tensor weight;
};

Operands MakeOperands(const at::Tensor& like, int64_t rows) {
  const int64_t half = like.size(1) / 2;
  const int64_t odd = like.size(1) - 2 * half;
  const at::Tensor shuffled =
      at::randperm(half, at::make_generator<at::CPUGeneratorImpl>(1))
          .to(like.device());
  const at::Tensor x = RandomRows(rows, half, 2, like);
  const at::Tensor w = RandomRows(like.size(0), half, 3, like);
  const auto join = [&](const at::Tensor& first, const at::Tensor& second) {
    const at::Tensor rest = RandomRows(first.size(0), odd, 4, like);
    return at::cat({first, second.index_select(1, shuffled), rest}, 1);
  };
  return {.x = join(x, at::neg(x)), .weight = join(w, w)};
}

at::Tensor InProductsOf(int64_t height, const Operands& operands,
                        const std::optional<at::Tensor>& bias) {
  const int64_t rows = operands.x.size(0);
  at::Tensor out =
      at::empty({rows, operands.weight.size(0)}, operands.x.options());
  for (int64_t row = 0; row < rows; row += height) {
    LinearInto(out.narrow(0, row, height), operands.x.narrow(0, row, height),
               operands.weight, bias);
  }
  return out;
}

bool Measure(const at::Tensor& weight, bool has_bias, int64_t reference,
             int64_t height) {
  const Operands operands = MakeOperands(weight, std::max(reference, height));
  std::optional<at::Tensor> bias;
  if (has_bias) {
    bias = RandomRows(1, weight.size(0), 5, weight).squeeze(0);
  }
  return InProductsOf(reference, operands, bias)
      .equal(InProductsOf(height, operands, bias));
}

class MeasuredProducts {
 public:
  // Two threads that ask at once both measure, with the same answer.
  bool Same(const at::Tensor& weight, bool has_bias, int64_t reference,
            int64_t height) {
    const Product product = ProductOf(weight, has_bias, reference, height);
    {
      const absl::MutexLock lock(&mutex_);
      const auto known = same_.find(product);
      if (known != same_.end()) return known->second;
    }
    const bool same = Measure(weight, has_bias, reference, height);
    const absl::MutexLock lock(&mutex_);
    same_[product] = same;
    return same;
  }

 private:
  absl::Mutex mutex_;
  std::map<Product, bool> same_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

void LinearInto(at::Tensor out, const at::Tensor& x, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias) {
  if (PrefersOneDnn(x)) {
    OneDnnProductInto(out, x, weight, bias);
  } else if (bias.has_value()) {
    at::addmm_out(out, *bias, x, weight.t());
  } else {
    at::mm_out(out, x, weight.t());
  }
}

bool SameRowBits(const at::Tensor& weight, bool has_bias, int64_t reference,
                 int64_t height) {
  if (height == reference) return true;
  if (weight.numel() > kMostWeightElements) return false;
  static MeasuredProducts* const measured = new MeasuredProducts;
  return measured->Same(weight, has_bias, reference, height);
}

int64_t NextHeight(const at::Tensor& weight, bool has_bias, int64_t reference,
                   int64_t left) {
  const auto agrees = [&](int64_t height) {
    if (height < kLowestOnCpu && weight.is_cpu()) return false;
    return SameRowBits(weight, has_bias, reference, height);
  };
  if (left >= reference) {
    // The highest that is filled, or nearly so.
    for (auto height = kHeights.rbegin(); *height > reference; ++height) {
      if (*height <= left + left / 8 && agrees(*height)) return *height;
    }
    return reference;
  }
  // The lowest that holds them all.
  for (const int64_t height : kHeights) {
    if (height >= reference) break;
    if (height >= left && agrees(height)) return height;
  }
  return reference;
}

}  // namespace dissonance
