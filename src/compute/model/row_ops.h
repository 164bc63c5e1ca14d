// The row-wise steps of a decoder block. A row's result depends on that row
// alone, bit for bit: not on how many rows there are nor on where it stands
// among them. That is what makes a request's result independent of the batch.
// Stateless, thread safe.
//
// Matrix products get this from tiles: a library's product of [M, K] and [K, N]
// may round differently for another M, so every product is made of calls with
// M rows that are known to round alike (product_heights.h), the last one filled
// up with zero rows. Rows of generation steps on the CPU have a product of
// their own (row_product.h).
#ifndef DISSONANCE_COMPUTE_MODEL_ROW_OPS_H_
#define DISSONANCE_COMPUTE_MODEL_ROW_OPS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "src/compute/model/decoder_spec.h"

namespace dissonance {

// On the CPU rows of prompts go through products of kPrefillTile rows, rows of
// generation steps that have no product of their own through kDecodeTile, so
// that one new token does not cost a whole prompt tile. Which kind a row is
// depends on its own request only. On other devices all go through
// kPrefillTile.
inline constexpr int64_t kPrefillTile = 128;
inline constexpr int64_t kDecodeTile = 16;

// The first `prefill` rows are prompt rows, the rest are decode rows.
// `tiled` false: one product over all rows, for speed without the guarantee.
struct RowKinds {
  int64_t prefill = 0;
  bool tiled = true;
};

// x [rows, in] times weight [out, in] transposed, plus bias [out].
// Returns [rows, out] in x's dtype.
at::Tensor RowLinear(const at::Tensor& x, const at::Tensor& weight,
                     const std::optional<at::Tensor>& bias, RowKinds kinds);

// x [..., width] scaled to unit root mean square, in float32 (float64 for
// float64), times weight [width] (Zhang & Sennrich 2019). Rounded to x's dtype
// before the product, as transformers' Llama does, or after it, as its Gemma
// does, if the weight is of a wider type.
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

// act(gate) * up for gate_up [rows, 2 * width] holding gate then up.
// Returns [rows, width].
at::Tensor GatedActivation(const at::Tensor& gate_up, Activation activation);

// act(x) for x [rows, width].
at::Tensor Activate(const at::Tensor& x, Activation activation);

// cap * tanh(x / cap) of x [rows, width], in place.
void SoftcapRows(at::Tensor& x, double cap);

// Dot products of the rows of x and y [..., width], in float32 (float64 for
// float64). Returns [..., 1].
at::Tensor RowDots(const at::Tensor& x, const at::Tensor& y);

// Rotates the first components of x [rows, heads, head_dim] in place by cos and
// sin [rows, width / 2]; component i pairs with i + width / 2 (Su et al. 2021,
// the half-split layout of transformers).
void ApplyRotary(at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_ROW_OPS_H_
