#include "src/compute/lora/low_rank.h"

#include <c10/util/BFloat16.h>

#include "src/compute/model/dot_kernels.h"
#include "src/compute/model/row_product.h"
#include "src/compute/tensor/parallel.h"

namespace dissonance {
namespace {

template <typename Wide>
using Kernel = void (*)(const RowProduct<Wide, Wide>&, int64_t, int64_t);

// rows x weight transposed into a buffer that grows as needed.
template <typename Wide>
void Multiply(Kernel<Wide> kernel, const Wide* x, int64_t x_stride,
              int64_t rows, const at::Tensor& weight, std::vector<Wide>& out) {
  const int64_t width = weight.size(0);
  out.resize(static_cast<size_t>(rows * width));
  kernel({.x = x,
          .x_stride = x_stride,
          .rows = rows,
          .weight = weight.const_data_ptr<Wide>(),
          .weight_stride = weight.stride(0),
          .in = weight.size(1),
          .out = out.data(),
          .out_stride = width},
         0, width);
}

template <typename T, typename Wide>
void AddRun(const LowRankRows& run, const at::Tensor& x, const at::Tensor& y,
            Kernel<Wide> kernel) {
  std::vector<Wide> shrunk;
  std::vector<Wide> grown;
  const LoraGroup& group = *run.group;
  Multiply(kernel, x.const_data_ptr<Wide>() + run.row_begin * x.stride(0),
           x.stride(0), run.row_count, group.down, shrunk);
  T* const first = y.mutable_data_ptr<T>() + run.row_begin * y.stride(0);
  for (const LoraModule& module : group.modules) {
    Multiply(kernel, shrunk.data() + module.rank_begin, group.down.size(0),
             run.row_count, module.up, grown);
    const int64_t width = module.up.size(0);
    const Wide* from = grown.data();
    for (int64_t row = 0; row < run.row_count; ++row) {
      T* to = first + row * y.stride(0) + module.out_begin;
      for (int64_t o = 0; o < width; ++o, ++from) {
        to[o] = static_cast<T>(static_cast<Wide>(to[o]) + *from);
      }
    }
  }
}

template <typename T, typename Wide>
void AddRuns(const std::vector<LowRankRows>& runs, const at::Tensor& x,
             const at::Tensor& y, Kernel<Wide> kernel) {
  ParallelFor(0, static_cast<int64_t>(runs.size()), 1,
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) {
                  AddRun<T>(runs[static_cast<size_t>(i)], x, y, kernel);
                }
              });
}

}  // namespace

bool HasLowRank(const at::Tensor& y) {
  return HasRowProduct(y) && y.stride(1) == 1;
}

void AddLowRank(const std::vector<LowRankRows>& runs, const at::Tensor& x,
                const at::Tensor& y) {
  if (runs.empty()) return;
  const DotKernels& kernels = BestDotKernels();
  const at::ScalarType wide =
      y.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor wide_x = x.to(wide).contiguous();
  switch (y.scalar_type()) {
    case at::kFloat:
      AddRuns<float>(runs, wide_x, y, kernels.multiply_f32);
      break;
    case at::kDouble:
      AddRuns<double>(runs, wide_x, y, kernels.multiply_f64);
      break;
    default:
      AddRuns<c10::BFloat16>(runs, wide_x, y, kernels.multiply_f32);
  }
}

}  // namespace dissonance
