// Matrix products of both passes, by the library that is fastest here for them.
// Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_TRAIN_TRAIN_PRODUCT_H_
#define DISSONANCE_COMPUTE_TRAIN_TRAIN_PRODUCT_H_

#include <ATen/core/Tensor.h>

#include "src/compute/model/weights.h"

namespace dissonance {

// a [rows, in] times b [in, out]: [rows, out].
at::Tensor Product(const at::Tensor& a, const at::Tensor& b);

// Adds alpha times a [rows, in] times b [in, out] to out [rows, out].
void AddProduct(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                double alpha = 1.0);

// x [rows, in] through a frozen projection: [rows, out]. Without a graph.
at::Tensor LinearProduct(const LinearWeights& weights, const at::Tensor& x);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TRAIN_PRODUCT_H_
