#include "src/compute/model/row_product.h"

#include <ATen/ops/empty.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <type_traits>

#include "src/compute/model/dot_kernels.h"
#include "src/compute/tensor/parallel.h"

namespace dissonance {
namespace {

// Outputs are shared out to threads in pieces of so many, which the kernels
// compute together.
constexpr int64_t kPieceOuts = 8;
// Fewer products than that are not worth waking a thread for.
constexpr int64_t kThreadProducts = 1 << 16;

template <typename Weight, typename Wide>
using Kernel = void (*)(const RowProduct<Weight, Wide>&, int64_t, int64_t);

// Adds the bias and rounds the outputs [begin, end) of sums into out.
template <typename T, typename Stored, typename Wide>
void Finish(const RowProduct<Stored, Wide>& product, const T* bias,
            const at::Tensor& out, int64_t begin, int64_t end) {
  T* result = out.mutable_data_ptr<T>();
  for (int64_t row = 0; row < product.rows; ++row) {
    const Wide* sums = product.out + row * product.out_stride;
    T* to = result + row * out.stride(0);
    for (int64_t o = begin; o < end; ++o) {
      const Wide whole =
          bias == nullptr ? sums[o] : sums[o] + static_cast<Wide>(bias[o]);
      to[o] = static_cast<T>(whole);
    }
  }
}

template <typename T, typename Stored, typename Wide>
void Multiply(const at::Tensor& out, const at::Tensor& x,
              const at::Tensor& weight, const std::optional<at::Tensor>& bias,
              Kernel<Stored, Wide> kernel) {
  TORCH_CHECK(out.stride(1) == 1, "outputs lie side by side");
  const int64_t outs = weight.size(0);
  const T* add = bias.has_value() ? bias->const_data_ptr<T>() : nullptr;
  constexpr bool kIsWide = std::is_same_v<T, Wide>;
  const at::Tensor wide_x =
      x.to(c10::CppTypeToScalarType<Wide>::value).contiguous();
  const bool is_direct = kIsWide && add == nullptr;
  const at::Tensor sums =
      is_direct ? out : at::empty({x.size(0), outs}, wide_x.options());
  const RowProduct<Stored, Wide> product = {
      .x = wide_x.const_data_ptr<Wide>(),
      .x_stride = x.size(1),
      .rows = x.size(0),
      .weight = reinterpret_cast<const Stored*>(weight.const_data_ptr<T>()),
      .weight_stride = weight.stride(0),
      .in = x.size(1),
      .out = sums.mutable_data_ptr<Wide>(),
      .out_stride = sums.stride(0)};
  const int64_t grain =
      kThreadProducts / std::max<int64_t>(product.in * product.rows, 1);
  ParallelFor(0, (outs + kPieceOuts - 1) / kPieceOuts, grain / kPieceOuts + 1,
              [&](int64_t from, int64_t to) {
                const int64_t begin = from * kPieceOuts;
                const int64_t end = std::min(to * kPieceOuts, outs);
                kernel(product, begin, end);
                if (!is_direct) Finish<T>(product, add, out, begin, end);
              });
}

}  // namespace

bool HasRowProduct(const at::Tensor& weight) {
  const at::ScalarType type = weight.scalar_type();
  return weight.is_cpu() && weight.stride(1) == 1 &&
         (type == at::kFloat || type == at::kDouble || type == at::kBFloat16);
}

void RowProductInto(const at::Tensor& out, const at::Tensor& x,
                    const at::Tensor& weight,
                    const std::optional<at::Tensor>& bias) {
  const DotKernels& kernels = BestDotKernels();
  switch (weight.scalar_type()) {
    case at::kFloat:
      Multiply<float>(out, x, weight, bias, kernels.multiply_f32);
      break;
    case at::kDouble:
      Multiply<double>(out, x, weight, bias, kernels.multiply_f64);
      break;
    default:
      Multiply<c10::BFloat16>(out, x, weight, bias, kernels.multiply_bf16);
  }
}

}  // namespace dissonance
