#include "src/compute/train/adamw.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "src/compute/tensor/safetensors.h"
#include "tests/testing/compute_goldens.h"
#include "tests/testing/random_tensor.h"

namespace dissonance {
namespace {

// More than some parts, and not a whole number of them.
constexpr int64_t kMany = 100'003;

struct Training {
  explicit Training(at::ScalarType dtype, int64_t count = kMany)
      : parameters(RandomTensor({count}, dtype, 1)),
        first(at::zeros_like(parameters)),
        second(at::zeros_like(parameters)) {}

  // Of step t. Some numbers have no gradient, some a tiny one.
  at::Tensor Gradient(int64_t t) const {
    at::Tensor gradient =
        RandomTensor({parameters.numel()}, parameters.scalar_type(),
                     static_cast<uint64_t>(100 + t));
    gradient.narrow(0, 0, 3).zero_();
    gradient.narrow(0, 3, 3).mul_(1e-9);
    return gradient;
  }

  at::Tensor parameters;
  at::Tensor first;
  at::Tensor second;
};

// Several steps with a rate that begins at 0.
template <typename Step>
Training Trained(at::ScalarType dtype, const AdamwOptions& options,
                 const Step& step) {
  Training training(dtype);
  for (int64_t t = 1; t <= 5; ++t) {
    AdamwOptions now = options;
    now.learning_rate = 0.01 * static_cast<double>(t - 1);
    step(now, t, training.Gradient(t), training.parameters, training.first,
         training.second);
  }
  return training;
}

// The definition, number by number, in float64.
void ReferenceStep(const AdamwOptions& options, int64_t t,
                   const at::Tensor& gradient, const at::Tensor& parameters,
                   const at::Tensor& first, const at::Tensor& second) {
  const double* g = gradient.const_data_ptr<double>();
  double* p = parameters.mutable_data_ptr<double>();
  double* m = first.mutable_data_ptr<double>();
  double* v = second.mutable_data_ptr<double>();
  const auto times = static_cast<double>(t);
  for (int64_t i = 0; i < parameters.numel(); ++i) {
    p[i] *= 1 - options.learning_rate * options.weight_decay;
    m[i] = options.beta1 * m[i] + (1 - options.beta1) * g[i];
    v[i] = options.beta2 * v[i] + (1 - options.beta2) * g[i] * g[i];
    const double mean = m[i] / (1 - std::pow(options.beta1, times));
    const double square = v[i] / (1 - std::pow(options.beta2, times));
    p[i] -=
        options.learning_rate * mean / (std::sqrt(square) + options.epsilon);
  }
}

const AdamwOptions kDecaying = {
    .beta1 = 0.8, .beta2 = 0.99, .epsilon = 1e-6, .weight_decay = 0.3};

TEST(AdamwTest, FollowsItsDefinitionInFloat64) {
  for (const AdamwOptions& options : {AdamwOptions(), kDecaying}) {
    const Training own = Trained(at::kDouble, options, AdamwStep);
    const Training expected = Trained(at::kDouble, options, ReferenceStep);
    EXPECT_LE(MaxAbsDifference(own.parameters, expected.parameters), 1e-13);
    EXPECT_LE(MaxAbsDifference(own.first, expected.first), 1e-14);
    EXPECT_LE(MaxAbsDifference(own.second, expected.second), 1e-14);
  }
}

TEST(AdamwTest, StaysCloseToTheDefinitionInFloat32) {
  const Training own = Trained(at::kFloat, kDecaying, AdamwStep);
  // From the same numbers: those that float32 holds.
  Training expected(at::kDouble);
  expected.parameters.copy_(Training(at::kFloat).parameters);
  for (int64_t t = 1; t <= 5; ++t) {
    AdamwOptions now = kDecaying;
    now.learning_rate = 0.01 * static_cast<double>(t - 1);
    ReferenceStep(now, t, Training(at::kFloat).Gradient(t).to(at::kDouble),
                  expected.parameters, expected.first, expected.second);
  }
  EXPECT_LE(MaxAbsDifference(own.parameters, expected.parameters), 2e-6);
}

TEST(AdamwTest, TorchsOperatorsComputeTheSame) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const double tolerance = dtype == at::kFloat ? 2e-6 : 1e-14;
    const Training own = Trained(dtype, kDecaying, AdamwStep);
    const Training by_operators =
        Trained(dtype, kDecaying, AdamwStepByOperators);
    EXPECT_LE(MaxAbsDifference(own.parameters, by_operators.parameters),
              tolerance);
    EXPECT_LE(MaxAbsDifference(own.first, by_operators.first), tolerance);
    EXPECT_LE(MaxAbsDifference(own.second, by_operators.second), tolerance);
  }
}

TEST(AdamwTest, ARateOfZeroMovesTheMomentsAlone) {
  Training training(at::kFloat);
  const at::Tensor before = training.parameters.clone();
  AdamwStep(kDecaying, 1, training.Gradient(1), training.parameters,
            training.first, training.second);
  EXPECT_TRUE(at::equal(training.parameters, before));
  EXPECT_GT(training.second.max().item<double>(), 0.0);
}

// Runs `body` on one thread and on several.
template <typename Body>
auto OnThreads(int threads, const Body& body) {
  const int before = at::get_num_threads();
  at::set_num_threads(threads);
  auto result = body();
  at::set_num_threads(before);
  return result;
}

TEST(AdamwTest, BitsDoNotDependOnTheNumberOfThreads) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const auto train = [&] {
      return Trained(dtype, kDecaying, AdamwStep).parameters;
    };
    EXPECT_TRUE(at::equal(OnThreads(1, train), OnThreads(3, train)));
    const auto norm = [&] { return GradNorm(Training(dtype).Gradient(1)); };
    EXPECT_EQ(OnThreads(1, norm), OnThreads(3, norm));
  }
}

TEST(ClipGradNormTest, ScalesALargeGradientDownAndLeavesASmallOne) {
  const at::Tensor gradient = at::full({kMany}, 0.5, at::kDouble);
  const double norm = 0.5 * std::sqrt(static_cast<double>(kMany));
  EXPECT_NEAR(ClipGradNorm(gradient, 2.0), norm, 1e-11);
  EXPECT_NEAR(gradient[kMany - 1].item<double>(), 0.5 * 2.0 / (norm + 1e-6),
              1e-16);
  const at::Tensor clipped = gradient.clone();
  EXPECT_NEAR(ClipGradNorm(gradient, 2.5), 2.0, 1e-7);
  EXPECT_TRUE(at::equal(gradient, clipped));
}

TEST(ClipGradNormTest, WithoutABoundOrAFiniteNormTheGradientStays) {
  const at::Tensor gradient = at::full({100}, 3.0F, at::kFloat);
  EXPECT_NEAR(ClipGradNorm(gradient, 0.0), 30.0, 1e-12);
  EXPECT_EQ(gradient.max().item<float>(), 3.0F);
  gradient[17] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(ClipGradNorm(gradient, 1.0)));
  EXPECT_EQ(gradient[0].item<float>(), 3.0F);
  // Squares that float32 could not hold.
  EXPECT_NEAR(GradNorm(at::full({4}, 1e30F, at::kFloat)), 2e30, 1e24);
}

TEST(ClipGradNormTest, GivesTorchsNormOfARealGradient) {
  const GoldenCase models = ReadGolden("models/llama");
  const auto trace = SafetensorsFile::Open(
      models.directory + "/../../train_lora/trace_wd0.safetensors");
  ASSERT_TRUE(trace.ok()) << trace.status();
  const at::Tensor norms = (*trace)->Load("grad_norm").value();
  for (const int64_t step : {0, 2}) {
    std::vector<at::Tensor> matrices;
    const std::string prefix = "grad.step" + std::to_string(step) + ".";
    for (const auto& [name, info] : (*trace)->tensors()) {
      if (absl::StartsWith(name, prefix)) {
        matrices.push_back((*trace)->Load(name).value().flatten());
      }
    }
    const at::Tensor gradient = at::cat(matrices);
    EXPECT_NEAR(ClipGradNorm(gradient, 1.0), norms[step].item<double>(), 1e-6);
    EXPECT_NEAR(GradNorm(gradient), 1.0, 1e-6);
  }
}

}  // namespace
}  // namespace dissonance
