// How many rows a matrix product may have without changing its rows' bits.
//
// A library picks its order of summation by the product's shape, so a row of
// x times weight transposed may round differently in a product of another
// height (number of rows). Which heights agree depends on library, processor,
// threads, type and shape; no document tells, so it is measured.
#ifndef DISSONANCE_COMPUTE_MODEL_PRODUCT_HEIGHTS_H_
#define DISSONANCE_COMPUTE_MODEL_PRODUCT_HEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace dissonance {

// x [rows, in] times weight [out, in] transposed, plus bias [out], into out
// [rows, out]: the one product that everything here is about.
void LinearInto(at::Tensor out, const at::Tensor& x, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias);

// Whether LinearInto gives every row the same bits in products of `height`
// rows as in products of `reference` rows; one must divide the other. The
// first call for a kind of product (type, device, threads, shape, bias or
// none) computes both on random numbers, which costs two products of the
// larger height and a copy of the weight; the answer is kept for the life of
// the process. False, unmeasured, for weights of more than 2^28 elements.
// Thread safe.
bool SameRowBits(const at::Tensor& weight, bool has_bias, int64_t reference,
                 int64_t height);

// Rows of the next product when `left` are left, for products whose rows have
// the bits of `reference` rows: `reference`, or another height that agrees
// with it and wastes less. May exceed `left`: fill up with zero rows.
int64_t NextHeight(const at::Tensor& weight, bool has_bias, int64_t reference,
                   int64_t left);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_PRODUCT_HEIGHTS_H_
