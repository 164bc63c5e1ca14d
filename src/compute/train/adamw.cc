#include "src/compute/train/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/sqrt.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "absl/functional/function_ref.h"
#include "src/compute/tensor/parallel.h"
#include "src/compute/tensor/vector_kernel.h"

namespace dissonance {
namespace {

// Numbers of a part: what one thread takes at a time, and one partial sum.
constexpr int64_t kPart = 1 << 14;
// Sums of a part that grow side by side.
constexpr size_t kLanes = 16;

// What a step multiplies and adds, rounded to the buffers' type.
template <typename T>
struct StepFactors {
  StepFactors(const AdamwOptions& options, int64_t t)
      : keep(
            static_cast<T>(1.0 - options.learning_rate * options.weight_decay)),
        beta1(static_cast<T>(options.beta1)),
        rest1(static_cast<T>(1.0 - options.beta1)),
        beta2(static_cast<T>(options.beta2)),
        rest2(static_cast<T>(1.0 - options.beta2)),
        epsilon(static_cast<T>(options.epsilon)) {
    const auto times = static_cast<double>(t);
    size = static_cast<T>(options.learning_rate /
                          (1.0 - std::pow(options.beta1, times)));
    root = static_cast<T>(std::sqrt(1.0 - std::pow(options.beta2, times)));
  }

  T keep;
  T beta1;
  T rest1;
  T beta2;
  T rest2;
  T epsilon;
  T size;
  T root;
};

template <typename T>
struct Buffers {
  const T* __restrict gradient;
  T* __restrict parameters;
  T* __restrict first;
  T* __restrict second;
};

template <typename T>
[[gnu::always_inline]] inline void StepPart(const StepFactors<T>& by,
                                            const Buffers<T>& at, int64_t begin,
                                            int64_t end) {
  const T* __restrict gradient = at.gradient;
  T* __restrict parameters = at.parameters;
  T* __restrict first = at.first;
  T* __restrict second = at.second;
  for (int64_t i = begin; i < end; ++i) {
    const T g = gradient[i];
    const T m = by.beta1 * first[i] + by.rest1 * g;
    const T v = by.beta2 * second[i] + by.rest2 * (g * g);
    first[i] = m;
    second[i] = v;
    parameters[i] = by.keep * parameters[i] -
                    by.size * m / (std::sqrt(v) / by.root + by.epsilon);
  }
}

DISSONANCE_VECTOR_KERNEL void StepFloats(const StepFactors<float>& by,
                                         const Buffers<float>& at,
                                         int64_t begin, int64_t end) {
  StepPart(by, at, begin, end);
}

DISSONANCE_VECTOR_KERNEL void StepDoubles(const StepFactors<double>& by,
                                          const Buffers<double>& at,
                                          int64_t begin, int64_t end) {
  StepPart(by, at, begin, end);
}

template <typename T>
[[gnu::always_inline]] inline double SumSquares(const T* numbers,
                                                int64_t count) {
  std::array<double, kLanes> sums{};
  int64_t i = 0;
  for (; i + static_cast<int64_t>(kLanes) <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const auto number =
          static_cast<double>(numbers[i + static_cast<int64_t>(lane)]);
      sums[lane] += number * number;
    }
  }
  double sum = 0.0;
  for (const double lane : sums) sum += lane;
  for (; i < count; ++i) {
    const auto number = static_cast<double>(numbers[i]);
    sum += number * number;
  }
  return sum;
}

DISSONANCE_VECTOR_KERNEL double SumSquaresOfFloats(const float* numbers,
                                                   int64_t count) {
  return SumSquares(numbers, count);
}

DISSONANCE_VECTOR_KERNEL double SumSquaresOfDoubles(const double* numbers,
                                                    int64_t count) {
  return SumSquares(numbers, count);
}

// Calls body(begin, end) for the parts of `count` numbers, which are the same
// however many threads take them.
void ForParts(int64_t count, absl::FunctionRef<void(int64_t, int64_t)> body) {
  ParallelFor(0, (count + kPart - 1) / kPart, 1, [&](int64_t from, int64_t to) {
    for (int64_t part = from; part < to; ++part) {
      body(part * kPart, std::min((part + 1) * kPart, count));
    }
  });
}

template <typename T, typename Kernel>
double NormOf(const at::Tensor& gradient, Kernel kernel) {
  const int64_t count = gradient.numel();
  std::vector<double> sums(static_cast<size_t>((count + kPart - 1) / kPart));
  const T* numbers = gradient.const_data_ptr<T>();
  ForParts(count, [&](int64_t begin, int64_t end) {
    sums[static_cast<size_t>(begin / kPart)] =
        kernel(numbers + begin, end - begin);
  });
  double sum = 0.0;
  for (const double part : sums) sum += part;
  return std::sqrt(sum);
}

}  // namespace

void AdamwStep(const AdamwOptions& options, int64_t t,
               const at::Tensor& gradient, const at::Tensor& parameters,
               const at::Tensor& first_moments,
               const at::Tensor& second_moments) {
  if (!parameters.is_cpu()) {
    AdamwStepByOperators(options, t, gradient, parameters, first_moments,
                         second_moments);
    return;
  }
  const auto run = [&]<typename T>(auto kernel, T /*type*/) {
    const StepFactors<T> by(options, t);
    const Buffers<T> at = {gradient.const_data_ptr<T>(),
                           parameters.mutable_data_ptr<T>(),
                           first_moments.mutable_data_ptr<T>(),
                           second_moments.mutable_data_ptr<T>()};
    ForParts(parameters.numel(),
             [&](int64_t begin, int64_t end) { kernel(by, at, begin, end); });
  };
  if (parameters.scalar_type() == at::kDouble) {
    run(StepDoubles, double{});
  } else {
    run(StepFloats, float{});
  }
}

void AdamwStepByOperators(const AdamwOptions& options, int64_t t,
                          const at::Tensor& gradient,
                          const at::Tensor& parameters,
                          const at::Tensor& first_moments,
                          const at::Tensor& second_moments) {
  const StepFactors<double> by(options, t);
  parameters.mul_(by.keep);
  first_moments.mul_(by.beta1).add_(gradient, by.rest1);
  second_moments.mul_(by.beta2).addcmul_(gradient, gradient, by.rest2);
  const at::Tensor spread =
      second_moments.sqrt().div_(by.root).add_(by.epsilon);
  parameters.addcdiv_(first_moments, spread, -by.size);
}

double GradNorm(const at::Tensor& gradient) {
  if (!gradient.is_cpu()) {
    return at::linalg_vector_norm(gradient, 2, at::OptionalIntArrayRef(),
                                  /*keepdim=*/false, at::kDouble)
        .item<double>();
  }
  if (gradient.scalar_type() == at::kDouble) {
    return NormOf<double>(gradient, SumSquaresOfDoubles);
  }
  return NormOf<float>(gradient, SumSquaresOfFloats);
}

double ClipGradNorm(const at::Tensor& gradient, double max_norm) {
  const double norm = GradNorm(gradient);
  if (max_norm <= 0.0 || !std::isfinite(norm)) return norm;
  const double factor = max_norm / (norm + 1e-6);
  if (factor < 1.0) gradient.mul_(factor);
  return norm;
}

}  // namespace dissonance
