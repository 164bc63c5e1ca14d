// Loops over raw numbers behind products and attention of single rows, each
// compiled for several kinds of vector units. Every number is summed in one
// order, which depends on the lengths alone: not on how many rows are computed
// at once nor by how many threads. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_H_
#define DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_H_

#include <cstdint>

namespace dissonance {

// Bits of a bfloat16.
using Bfloat16Bits = uint16_t;

// out[r, o] = sum over i of x[r, i] * weight[o, i]; strides are in elements.
template <typename Weight, typename Wide>
struct RowProduct {
  const Wide* x = nullptr;  // [rows, in]
  int64_t x_stride = 0;
  int64_t rows = 0;
  const Weight* weight = nullptr;  // [out, in]
  int64_t weight_stride = 0;
  int64_t in = 0;
  Wide* out = nullptr;  // [rows, out]
  int64_t out_stride = 0;
};

// A query's attention to the keys of one head: softmax of scale * q.k over the
// keys, then the values' mean by it; strides are in elements.
template <typename Element, typename Wide>
struct QueryAttention {
  const Wide* query = nullptr;    // [width]
  const Element* keys = nullptr;  // [count, width]
  const Element* values = nullptr;
  int64_t key_stride = 0;
  int64_t value_stride = 0;
  int64_t count = 0;  // at least 1
  int64_t width = 0;
  Wide scale = 0;
  Wide softcap = 0;        // 0: none
  Wide* scores = nullptr;  // room for [count]
  Wide* out = nullptr;     // [width]
};

// What one kind of vector unit does.
struct DotKernels {
  // The outputs [begin, end) of all rows.
  void (*multiply_f32)(const RowProduct<float, float>&, int64_t, int64_t);
  void (*multiply_f64)(const RowProduct<double, double>&, int64_t, int64_t);
  void (*multiply_bf16)(const RowProduct<Bfloat16Bits, float>&, int64_t,
                        int64_t);
  void (*attend_f32)(const QueryAttention<float, float>&);
  void (*attend_f64)(const QueryAttention<double, double>&);
  void (*attend_bf16)(const QueryAttention<Bfloat16Bits, float>&);
};

// Those of the best unit that this processor has.
const DotKernels& BestDotKernels();

// The variants; those that this build or this processor lacks must not be
// called.
extern const DotKernels kAvx512DotKernels;
extern const DotKernels kAvx2DotKernels;
extern const DotKernels kPortableDotKernels;

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_H_
