// Products of few rows with many. Stateless, thread safe; may throw c10::Error.
#ifndef DISSONANCE_COMPUTE_PROBE_THIN_PRODUCT_H_
#define DISSONANCE_COMPUTE_PROBE_THIN_PRODUCT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dissonance {

// How many rows are computed for so many; `a` with as many is not copied.
int64_t ThinRows(int64_t rows);

// a [m, in] times b [out, in] transposed: [m, out], of one type.
at::Tensor ThinProduct(const at::Tensor& a, const at::Tensor& b);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_THIN_PRODUCT_H_
