#include "src/compute/probe/thin_product.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <optional>

#include "src/compute/model/row_product.h"

namespace dissonance {
namespace {

// The loops take so many rows at a time, and single ones as slowly.
constexpr int64_t kRowsAtOnce = 4;

}  // namespace

int64_t ThinRows(int64_t rows) {
  return (rows + kRowsAtOnce - 1) / kRowsAtOnce * kRowsAtOnce;
}

at::Tensor ThinProduct(const at::Tensor& a, const at::Tensor& b) {
  if (!HasRowProduct(b)) return a.mm(b.t());
  const int64_t filling = ThinRows(a.size(0)) - a.size(0);
  const at::Tensor rows =
      filling == 0 ? a
                   : at::cat({a, at::zeros({filling, a.size(1)}, a.options())});
  const at::Tensor out = at::empty({rows.size(0), b.size(0)}, b.options());
  RowProductInto(out, rows, b, std::nullopt);
  return out.slice(0, 0, a.size(0));
}

}  // namespace dissonance
