// LinearFit's iterations on the CPU: loops over one fit's numbers after the
// other's, which are so few that torch's calls would take longer than their
// work. Sums have one order, whatever threads and other fits there are.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/functional/function_ref.h"
#include "src/compute/probe/linear_fit.h"
#include "src/compute/probe/thin_product.h"
#include "src/compute/tensor/parallel.h"
#include "src/compute/tensor/vector_kernel.h"

namespace dissonance {
namespace {

// glibc's vector version, one lane an element.
extern "C" {
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((simd("notinbranch"), const)) double exp(double x) noexcept;
#endif
}

// So few fits, or classes of theirs, are not worth waking a thread for.
constexpr int64_t kFewFits = 4;

DISSONANCE_VECTOR_KERNEL
double Dot(const double* a, const double* b, int64_t count) {
  constexpr int kLanes = 8;
  double sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) sums[j] += a[i + j] * b[i + j];
  }
  for (; i < count; ++i) sums[0] += a[i] * b[i];
  double sum = 0.0;
  for (const double own : sums) sum += own;
  return sum;
}

DISSONANCE_VECTOR_KERNEL
void Add(double factor, const double* x, double* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] += factor * x[i];
}

DISSONANCE_VECTOR_KERNEL
void Multiply(double factor, double* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] *= factor;
}

DISSONANCE_VECTOR_KERNEL
void Subtract(const double* a, const double* b, double* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = a[i] - b[i];
}

// Between float64 and the products' type, with what belongs to it.
DISSONANCE_VECTOR_KERNEL
void Convert(const double* from, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]);
}
void Convert(const double* from, double* to, int64_t count) {
  std::copy_n(from, count, to);
}

DISSONANCE_VECTOR_KERNEL
void ConvertTimes(const double* from, const float* factor, float* to,
                  int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<float>(from[i]) * factor[i];
  }
}
DISSONANCE_VECTOR_KERNEL
void ConvertTimes(const double* from, const double* factor, double* to,
                  int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i] * factor[i];
}

DISSONANCE_VECTOR_KERNEL
void ConvertPlus(const float* from, double offset, double* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<double>(from[i]) + offset;
  }
}
DISSONANCE_VECTOR_KERNEL
void ConvertPlus(const double* from, double offset, double* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i] + offset;
}

// slopes = (slopes - mean * sum) * inverse_scale.
DISSONANCE_VECTOR_KERNEL
void Scale(const float* mean, const float* inverse_scale, float sum,
           float* slopes, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    slopes[i] = (slopes[i] - mean[i] * sum) * inverse_scale[i];
  }
}
DISSONANCE_VECTOR_KERNEL
void Scale(const double* mean, const double* inverse_scale, double sum,
           double* slopes, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    slopes[i] = (slopes[i] - mean[i] * sum) * inverse_scale[i];
  }
}

DISSONANCE_VECTOR_KERNEL
double SumOf(const float* a, const float* b, int64_t count) {
  constexpr int kLanes = 8;
  double sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      sums[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
    }
  }
  for (; i < count; ++i) {
    sums[0] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
  double sum = 0.0;
  for (const double own : sums) sum += own;
  return sum;
}
double SumOf(const double* a, const double* b, int64_t count) {
  return Dot(a, b, count);
}

// What a fit has of each row: [K, n], of labels and weights [n].
struct RowNumbers {
  const double* scores;
  const double* along;
  const double* labels;
  const double* weights;
  int64_t count;
  int64_t class_count;
};

// Derivatives of the loss by the scores where they moved t along: the first,
// and the second along that line. Both [K, n].
struct RowSlopes {
  double* residual;
  double* bent;
};

DISSONANCE_VECTOR_KERNEL
void SquaredSlopes(const RowNumbers& rows, double t, const RowSlopes& to) {
  for (int64_t i = 0; i < rows.count; ++i) {
    const double f = rows.scores[i] + t * rows.along[i];
    to.residual[i] = rows.weights[i] * (f - rows.labels[i]);
    to.bent[i] = rows.weights[i] * rows.along[i];
  }
}

DISSONANCE_VECTOR_KERNEL
void LogisticSlopes(const RowNumbers& rows, double t, const RowSlopes& to) {
  for (int64_t i = 0; i < rows.count; ++i) {
    const double f = rows.scores[i] + t * rows.along[i];
    const double p = 1.0 / (1.0 + exp(-f));
    to.residual[i] = rows.weights[i] * (p - rows.labels[i]);
    to.bent[i] = rows.weights[i] * p * (1.0 - p) * rows.along[i];
  }
}

DISSONANCE_VECTOR_KERNEL
void SoftmaxSlopes(const RowNumbers& rows, double t, const RowSlopes& to) {
  const int64_t n = rows.count;
  const int64_t all = n * rows.class_count;
  std::vector<double> largest(static_cast<size_t>(n),
                              -std::numeric_limits<double>::infinity());
  for (int64_t i = 0; i < all; ++i) {
    to.residual[i] = rows.scores[i] + t * rows.along[i];
    double& own = largest[static_cast<size_t>(i % n)];
    own = std::max(own, to.residual[i]);
  }
  std::vector<double> sums(static_cast<size_t>(n), 0.0);
  for (int64_t k = 0; k < all; k += n) {
    for (int64_t i = 0; i < n; ++i) {
      const auto row = static_cast<size_t>(i);
      to.residual[k + i] = exp(to.residual[k + i] - largest[row]);
      sums[row] += to.residual[k + i];
    }
  }
  std::vector<double> means(static_cast<size_t>(n), 0.0);  // of `along`
  for (int64_t k = 0; k < all; k += n) {
    for (int64_t i = 0; i < n; ++i) {
      const auto row = static_cast<size_t>(i);
      to.residual[k + i] /= sums[row];
      means[row] += to.residual[k + i] * rows.along[k + i];
    }
  }
  for (int64_t k = 0; k < rows.class_count; ++k) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = k * n + i;
      const double p = to.residual[at];
      const bool is_own = rows.labels[i] == static_cast<double>(k);
      to.bent[at] = rows.weights[i] * p *
                    (rows.along[at] - means[static_cast<size_t>(i)]);
      to.residual[at] = rows.weights[i] * (p - (is_own ? 1.0 : 0.0));
    }
  }
}

void FindSlopes(LinearLoss loss, const RowNumbers& rows, double t,
                const RowSlopes& to) {
  switch (loss) {
    case LinearLoss::kSquared:
      return SquaredSlopes(rows, t, to);
    case LinearLoss::kLogistic:
      return LogisticSlopes(rows, t, to);
    case LinearLoss::kSoftmax:
      return SoftmaxSlopes(rows, t, to);
  }
}

const double* At(const at::Tensor& x, int64_t fit) {
  return x.const_data_ptr<double>() + fit * x.stride(0);
}
double* InPlace(const at::Tensor& x, int64_t fit) {
  return x.mutable_data_ptr<double>() + fit * x.stride(0);
}

void ForEachFit(int64_t count, absl::FunctionRef<void(int64_t)> body) {
  ParallelFor(0, count, kFewFits, [&](int64_t begin, int64_t end) {
    for (int64_t fit = begin; fit < end; ++fit) body(fit);
  });
}

// Room for rows of a product.
at::Tensor ThinRoom(int64_t rows, int64_t width, const at::Tensor& like) {
  at::Tensor room = at::empty({ThinRows(rows), width}, like.options());
  room.slice(0, rows).zero_();
  return room;
}

// The first derivative along a line and the second.
struct LineSlope {
  double first;
  double second;
};

// LinearFit::Search for one fit, until the slope is small enough.
double FindStep(double enough, int most_steps,
                absl::FunctionRef<LineSlope(double)> slope_at) {
  double t = 1.0;
  double low = 0.0;
  double high = std::numeric_limits<double>::infinity();
  for (int i = 0;; ++i) {
    const LineSlope slope = slope_at(t);
    if (i == most_steps || std::abs(slope.first) <= enough) return t;
    if (slope.first < 0.0) low = t;
    if (slope.first > 0.0) high = t;
    const double newton = t - slope.first / slope.second;
    const double middle = std::isinf(high) ? 4.0 * t : 0.5 * (low + high);
    const bool is_inside = newton > low && newton < high && newton <= 4.0 * t;
    t = is_inside ? newton : middle;
  }
}

}  // namespace

at::Tensor LinearFit::ScoreInLoops(const at::Tensor& w) const {
  const int64_t rows = w.size(0) * class_count_;
  const int64_t n = x_.size(0);
  const at::Tensor own = ThinRoom(rows, width_, x_);
  const at::Tensor scores =
      at::empty({w.size(0), class_count_, n}, w.options());
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    std::vector<double> offset(static_cast<size_t>(rows));
    ForEachFit(rows, [&](int64_t row) {
      const double* from = w.const_data_ptr<double>() + row * (width_ + 1);
      T* to = own.mutable_data_ptr<T>() + row * width_;
      double& rest = offset[static_cast<size_t>(row)];
      rest = from[width_];
      if (!mean_.defined()) return Convert(from, to, width_);
      const int64_t fit = row / class_count_ * width_;
      ConvertTimes(from, inverse_scale_.const_data_ptr<T>() + fit, to, width_);
      rest -= SumOf(to, mean_.const_data_ptr<T>() + fit, width_);
    });
    const at::Tensor products = ThinProduct(own, x_);
    ForEachFit(rows, [&](int64_t row) {
      ConvertPlus(products.const_data_ptr<T>() + row * n,
                  offset[static_cast<size_t>(row)],
                  scores.mutable_data_ptr<double>() + row * n, n);
    });
  };
  if (x_.scalar_type() == at::kDouble) {
    run(0.0);
  } else {
    run(0.0F);
  }
  return scores;
}

at::Tensor LinearFit::GradientInLoops(const at::Tensor& residual) const {
  const int64_t rows = w_.size(0) * class_count_;
  const int64_t n = x_.size(0);
  const at::Tensor own = ThinRoom(rows, n, x_);
  const at::Tensor dense = residual.contiguous();
  const at::Tensor gradient = at::empty_like(w_);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    const std::vector<double> ones(static_cast<size_t>(n), 1.0);
    std::vector<double> sums(static_cast<size_t>(rows));
    ForEachFit(rows, [&](int64_t row) {
      const double* from = dense.const_data_ptr<double>() + row * n;
      Convert(from, own.mutable_data_ptr<T>() + row * n, n);
      sums[static_cast<size_t>(row)] = Dot(from, ones.data(), n);
    });
    const at::Tensor slopes = ThinProduct(own, x_transposed_);
    ForEachFit(rows, [&](int64_t row) {
      T* from = slopes.mutable_data_ptr<T>() + row * width_;
      const double sum = sums[static_cast<size_t>(row)];
      if (mean_.defined()) {
        const int64_t fit = row / class_count_ * width_;
        Scale(mean_.const_data_ptr<T>() + fit,
              inverse_scale_.const_data_ptr<T>() + fit, static_cast<T>(sum),
              from, width_);
      }
      double* to = gradient.mutable_data_ptr<double>() + row * (width_ + 1);
      ConvertPlus(from, 0.0, to, width_);
      to[width_] = sum;
      Add(1.0, w_.const_data_ptr<double>() + row * (width_ + 1), to,
          penalized());
    });
  };
  if (x_.scalar_type() == at::kDouble) {
    run(0.0);
  } else {
    run(0.0F);
  }
  return gradient;
}

void LinearFit::TwoLoops(at::Tensor& q) const {
  const int64_t count = class_count_ * (width_ + 1);
  ForEachFit(q.size(0), [&](int64_t fit) {
    std::vector<double> alphas(steps_.size());
    double* own = InPlace(q, fit);
    for (size_t i = steps_.size(); i-- > 0;) {
      const Step& step = steps_[i];
      alphas[i] = *At(step.rho, fit) * Dot(At(step.s, fit), own, count);
      Add(-alphas[i], At(step.y, fit), own, count);
    }
    Multiply(*At(step_scale_, fit), own, count);
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      const double beta = *At(step.rho, fit) * Dot(At(step.y, fit), own, count);
      Add(alphas[i] - beta, At(step.s, fit), own, count);
    }
  });
}

at::Tensor LinearFit::MoveInLoops(const at::Tensor& direction,
                                  const at::Tensor& along) {
  const int64_t count = class_count_ * (width_ + 1);
  const int64_t n = along.size(2);
  const at::Tensor residual = at::empty_like(along);
  const at::Tensor bent = at::empty_like(along);
  ForEachFit(direction.size(0), [&](int64_t fit) {
    double* p = InPlace(direction, fit);
    const RowNumbers rows = {.scores = At(f_, fit),
                             .along = At(along, fit),
                             .labels = At(settings_.labels, fit),
                             .weights = At(mask_, fit),
                             .count = n,
                             .class_count = class_count_};
    const RowSlopes to = {.residual = InPlace(residual, fit),
                          .bent = InPlace(bent, fit)};
    double linear = 0.0;  // of the penalty's slope
    double square = 0.0;
    for (int64_t k = 0; k < count; k += width_ + 1) {
      linear += Dot(At(w_, fit) + k, p + k, penalized());
      square += Dot(p + k, p + k, penalized());
    }
    const double start = Dot(At(g_, fit), p, count);  // below 0
    // The scores' changes are rounded: at the beginning the slope is that of
    // the gradient.
    if (residual_.defined()) {
      linear = start - Dot(At(residual_, fit), rows.along, n * class_count_);
    }
    const double enough = kSlopeShare * std::abs(start);
    const double t = FindStep(enough, kSearchSteps, [&](double at) {
      FindSlopes(loss_, rows, at, to);
      const int64_t all = n * class_count_;
      return LineSlope{
          .first = Dot(to.residual, rows.along, all) + linear + at * square,
          .second = Dot(to.bent, rows.along, all) + square};
    });
    Multiply(t, p, count);
    Add(1.0, p, InPlace(w_, fit), count);
    Add(t, rows.along, InPlace(f_, fit), n * class_count_);
  });
  return residual;
}

void LinearFit::RememberInLoops(const at::Tensor& change,
                                const at::Tensor& gradient) {
  const int64_t count = class_count_ * (width_ + 1);
  const Step step{.s = change, .y = g_, .rho = at::empty_like(step_scale_)};
  bool* stalled = stalled_.mutable_data_ptr<bool>();
  ForEachFit(change.size(0), [&](int64_t fit) {
    double* y = InPlace(step.y, fit);
    Subtract(At(gradient, fit), y, y, count);
    const double* s = At(step.s, fit);
    const double product = Dot(y, s, count);
    const double of_y = Dot(y, y, count);
    const bool is_usable =
        product > kLeastCurvature * std::sqrt(of_y * Dot(s, s, count));
    *InPlace(step.rho, fit) = is_usable ? 1.0 / product : 0.0;
    if (is_usable) *InPlace(step_scale_, fit) = product / of_y;
    stalled[fit] = !is_usable;
  });
  g_ = gradient;
  KeepStep(step);
}

}  // namespace dissonance
