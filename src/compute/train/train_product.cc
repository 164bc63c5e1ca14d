#include "src/compute/train/train_product.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>

#include "src/compute/model/onednn_product.h"

namespace dissonance {

at::Tensor Product(const at::Tensor& a, const at::Tensor& b) {
  if (!PrefersOneDnn(a)) return at::mm(a, b);
  at::Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  OneDnnProductInto(out, a, b, /*beta=*/0.0, /*alpha=*/1.0);
  return out;
}

void AddProduct(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                double alpha) {
  at::Tensor into = out;
  if (!PrefersOneDnn(a)) {
    into.addmm_(a, b, 1.0, alpha);
  } else if (out.is_contiguous()) {
    OneDnnProductInto(out, a, b, /*beta=*/1.0, alpha);
  } else {
    into.add_(Product(a, b), alpha);
  }
}

at::Tensor LinearProduct(const LinearWeights& weights, const at::Tensor& x) {
  if (!PrefersOneDnn(x)) {
    return at::linear(x, weights.weight, weights.bias);
  }
  at::Tensor out = at::empty({x.size(0), weights.weight.size(0)}, x.options());
  OneDnnProductInto(out, x.contiguous(), weights.weight, weights.bias);
  return out;
}

}  // namespace dissonance
