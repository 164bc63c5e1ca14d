// Matrix products of few rows, as fast as the weight can be read, without the
// cost of a library that prepares for many. Each number is summed in one order,
// whatever the number of rows: a row has the same bits alone and among others.
// Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_ROW_PRODUCT_H_
#define DISSONANCE_COMPUTE_MODEL_ROW_PRODUCT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace dissonance {

// Whether RowProductInto computes with it: on the CPU, float32, float64 or
// bfloat16, each row's numbers side by side.
bool HasRowProduct(const at::Tensor& weight);

// x [rows, in] times weight [out, in] transposed, plus bias [out], into out
// [rows, out], all of one type; summed in float32 (float64 for float64), with
// bfloat16 rounded once at the end. Time O(rows * in * out); best up to some 32
// rows. REQUIRES: HasRowProduct(weight), rows of out and a bias side by side.
void RowProductInto(const at::Tensor& out, const at::Tensor& x,
                    const at::Tensor& weight,
                    const std::optional<at::Tensor>& bias);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_ROW_PRODUCT_H_
