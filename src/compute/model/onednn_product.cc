#include "src/compute/model/onednn_product.h"

#include <ATen/Context.h>

// libtorch exports it, but its header is not among those that are installed.
// result = beta * result + alpha * a * b. Null where a libtorch has none.
namespace at::native {
__attribute__((weak)) void mkldnn_matmul(const at::Tensor& a,
                                         const at::Tensor& b,
                                         const at::Tensor& result, float beta,
                                         float alpha);
}  // namespace at::native

namespace dissonance {
namespace {

bool IsAmdWithAvx512() {
#if defined(__x86_64__)
  return __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}

}  // namespace

bool PrefersOneDnn() {
  static const bool prefers = at::native::mkldnn_matmul != nullptr &&
                              at::hasMKLDNN() && IsAmdWithAvx512();
  return prefers;
}

bool PrefersOneDnn(const at::Tensor& x) {
  return PrefersOneDnn() && x.is_cpu() && x.scalar_type() == at::kFloat;
}

void OneDnnProductInto(const at::Tensor& out, const at::Tensor& x,
                       const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias) {
  if (bias.has_value()) out.copy_(bias->expand_as(out));
  OneDnnProductInto(out, x, weight.t(), /*beta=*/bias.has_value() ? 1.0 : 0.0,
                    /*alpha=*/1.0);
}

void OneDnnProductInto(const at::Tensor& out, const at::Tensor& a,
                       const at::Tensor& b, double beta, double alpha) {
  at::native::mkldnn_matmul(a, b, out, static_cast<float>(beta),
                            static_cast<float>(alpha));
}

}  // namespace dissonance
