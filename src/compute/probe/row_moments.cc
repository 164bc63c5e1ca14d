#include "src/compute/probe/row_moments.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <vector>

#include "src/compute/tensor/parallel.h"
#include "src/compute/tensor/vector_kernel.h"

namespace dissonance {
namespace {

// Columns whose sums stay in the nearest cache, and rows that are summed by
// themselves first: rounding grows with how many follow each other.
constexpr int64_t kColumns = 64;
constexpr int64_t kRows = 64;
constexpr int64_t kScaledRows = 16;  // fewer are not worth a thread

DISSONANCE_VECTOR_KERNEL
void Subtract(const float* x, const double* center, double* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<double>(x[i]) - center[i];
  }
}
DISSONANCE_VECTOR_KERNEL
void Subtract(const double* x, const double* center, double* to,
              int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = x[i] - center[i];
}

DISSONANCE_VECTOR_KERNEL
void AddMoments(double weight, const double* x, double* sums, double* squares,
                int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    sums[i] += weight * x[i];
    squares[i] += weight * x[i] * x[i];
  }
}

DISSONANCE_VECTOR_KERNEL
void Divide(const double* x, const double* by, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(x[i] / by[i]);
}
DISSONANCE_VECTOR_KERNEL
void Divide(const double* x, const double* by, double* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = x[i] / by[i];
}

DISSONANCE_VECTOR_KERNEL
void AddAndClear(double* from, double* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] += from[i];
    from[i] = 0.0;
  }
}

// The moments of some columns from `first` on.
template <typename T>
void ColumnMoments(const at::Tensor& rows, const double* center,
                   const at::Tensor& masks, int64_t first,
                   const RowMoments& to) {
  const int64_t n = rows.size(0);
  const int64_t width = rows.size(1);
  const int64_t count = std::min(kColumns, width - first);
  const double* weights = masks.const_data_ptr<double>();
  std::array<double, kColumns> own;
  // Sums and squares of each mask.
  std::vector<double> part(static_cast<size_t>(masks.size(0) * 2 * kColumns));
  for (int64_t row = 0; row < n; ++row) {
    Subtract(rows.const_data_ptr<T>() + row * width + first, center + first,
             own.data(), count);
    for (int64_t mask = 0; mask < masks.size(0); ++mask) {
      const double weight = weights[mask * n + row];
      double* sums = part.data() + mask * 2 * kColumns;
      if (weight != 0.0) {
        AddMoments(weight, own.data(), sums, sums + kColumns, count);
      }
      if ((row + 1) % kRows != 0 && row + 1 != n) continue;
      const int64_t at = mask * width + first;
      AddAndClear(sums, to.sums.mutable_data_ptr<double>() + at, count);
      AddAndClear(sums + kColumns, to.squares.mutable_data_ptr<double>() + at,
                  count);
    }
  }
}

template <typename From, typename To>
void ScaleInto(const at::Tensor& rows, const double* center,
               const double* spread, const at::Tensor& to) {
  const int64_t width = rows.size(1);
  ParallelFor(0, rows.size(0), kScaledRows, [&](int64_t begin, int64_t end) {
    std::vector<double> own(static_cast<size_t>(width));
    for (int64_t row = begin; row < end; ++row) {
      Subtract(rows.const_data_ptr<From>() + row * width, center, own.data(),
               width);
      Divide(own.data(), spread, to.mutable_data_ptr<To>() + row * width,
             width);
    }
  });
}

// Loops are for these.
bool HasLoops(const at::Tensor& rows) {
  return rows.is_cpu() && (rows.scalar_type() == at::kFloat ||
                           rows.scalar_type() == at::kDouble);
}

}  // namespace

RowMoments MomentsOf(const at::Tensor& rows, const at::Tensor& center,
                     const at::Tensor& masks) {
  if (!HasLoops(rows)) {
    const at::Tensor own = rows.to(at::kDouble) - center;
    return {.sums = masks.mm(own), .squares = masks.mm(own * own)};
  }
  const int64_t width = rows.size(1);
  const RowMoments moments = {
      .sums = at::zeros({masks.size(0), width}, masks.options()),
      .squares = at::zeros({masks.size(0), width}, masks.options())};
  const at::Tensor dense = rows.contiguous();
  const at::Tensor weights = masks.contiguous();
  const auto* at_center = center.const_data_ptr<double>();
  ParallelFor(0, (width + kColumns - 1) / kColumns, 1,
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) {
                  if (rows.scalar_type() == at::kFloat) {
                    ColumnMoments<float>(dense, at_center, weights,
                                         i * kColumns, moments);
                  } else {
                    ColumnMoments<double>(dense, at_center, weights,
                                          i * kColumns, moments);
                  }
                }
              });
  return moments;
}

at::Tensor ScaleRows(const at::Tensor& rows, const at::Tensor& center,
                     const at::Tensor& spread, at::ScalarType dtype) {
  if (!HasLoops(rows)) {
    return rows.to(at::kDouble, false, /*copy=*/true)
        .sub_(center)
        .div_(spread)
        .to(dtype);
  }
  const at::Tensor scaled =
      at::empty(rows.sizes(), rows.options().dtype(dtype));
  const at::Tensor dense = rows.contiguous();
  const auto* from = center.const_data_ptr<double>();
  const auto* by = spread.const_data_ptr<double>();
  if (rows.scalar_type() == at::kDouble) {
    ScaleInto<double, double>(dense, from, by, scaled);
  } else if (dtype == at::kDouble) {
    ScaleInto<float, double>(dense, from, by, scaled);
  } else {
    ScaleInto<float, float>(dense, from, by, scaled);
  }
  return scaled;
}

}  // namespace dissonance
