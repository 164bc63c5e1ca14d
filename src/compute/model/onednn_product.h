// oneDNN's float32 matrix product, which libtorch has but keeps for others of
// its types: on processors of AMD its products are faster than MKL's (decision
// 6). Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_ONEDNN_PRODUCT_H_
#define DISSONANCE_COMPUTE_MODEL_ONEDNN_PRODUCT_H_

#include <ATen/core/Tensor.h>

#include <optional>

namespace dissonance {

// Whether OneDnnProductInto is there and the better choice on this machine: a
// CPU of AMD with AVX-512, a libtorch that has it.
bool PrefersOneDnn();
// The same for a product with x: float32 on the CPU.
bool PrefersOneDnn(const at::Tensor& x);

// x [rows, in] times weight [out, in] transposed, plus bias [out], into out
// [rows, out]. REQUIRES: PrefersOneDnn(x), rows of all side by side. Throws
// c10::Error as torch does.
void OneDnnProductInto(const at::Tensor& out, const at::Tensor& x,
                       const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias);

// a [rows, in] times b [in, out], `alpha` times that plus `beta` times out,
// into out [rows, out]. REQUIRES: PrefersOneDnn(a), rows of out side by side.
// Throws c10::Error as torch does.
void OneDnnProductInto(const at::Tensor& out, const at::Tensor& a,
                       const at::Tensor& b, double beta, double alpha);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_ONEDNN_PRODUCT_H_
