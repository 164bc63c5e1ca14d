#include "src/lab/eval/mcq_metrics.h"

#include <algorithm>
#include <cmath>

namespace dissonance {
namespace {

// The 97.5 % quantile of the normal distribution.
constexpr double kZ = 1.959963984540054;

}  // namespace

double LogSumExp(absl::Span<const double> values) {
  const double greatest = *std::max_element(values.begin(), values.end());
  if (!std::isfinite(greatest)) return greatest;
  double sum = 0;
  for (const double value : values) sum += std::exp(value - greatest);
  return greatest + std::log(sum);
}

PerOption Softmax(const PerOption& logprobs) {
  const double greatest = *std::max_element(logprobs.begin(), logprobs.end());
  PerOption probs;
  double sum = 0;
  for (int option = 0; option < kMcqOptionCount; ++option) {
    probs[option] = std::exp(logprobs[option] - greatest);
    sum += probs[option];
  }
  for (double& p : probs) p /= sum;
  return probs;
}

double Entropy(const PerOption& probs) {
  double entropy = 0;
  for (const double p : probs) {
    if (p > 0) entropy -= p * std::log(p);
  }
  return std::max(entropy, 0.0);
}

int Argmax(const PerOption& scores) {
  return static_cast<int>(std::max_element(scores.begin(), scores.end()) -
                          scores.begin());
}

Uncertainty UncertaintyOf(absl::Span<const PerOption> samples) {
  PerOption mean = {};
  Uncertainty result;
  for (const PerOption& probs : samples) {
    for (int option = 0; option < kMcqOptionCount; ++option) {
      mean[option] += probs[option];
    }
    result.e_h += Entropy(probs);
  }
  const auto count = static_cast<double>(samples.size());
  for (double& p : mean) p /= count;
  result.e_h /= count;
  result.h_mean = Entropy(mean);
  result.mi = std::max(result.h_mean - result.e_h, 0.0);
  return result;
}

Interval WilsonInterval(int64_t hits, int64_t total) {
  if (total <= 0) return {};
  const auto n = static_cast<double>(total);
  const double share = static_cast<double>(hits) / n;
  const double center = share + kZ * kZ / (2 * n);
  const double half =
      kZ * std::sqrt(share * (1 - share) / n + kZ * kZ / (4 * n * n));
  const double scale = 1 + kZ * kZ / n;
  // Exact at both ends, where rounding would leave 1e-17.
  return {hits == 0 ? 0.0 : (center - half) / scale,
          hits == total ? 1.0 : (center + half) / scale};
}

double McNemarExactP(int64_t first, int64_t second) {
  const int64_t total = first + second;
  const int64_t fewer = std::min(first, second);
  if (first == second) return 1;
  // The term C(n, k) / 2^n at k = fewer in logarithms, which do not underflow;
  // those below it relative to it, from the greatest down.
  double log_term = -static_cast<double>(total) * std::log(2.0);
  for (int64_t k = 1; k <= fewer; ++k) {
    log_term +=
        std::log(static_cast<double>(total - k + 1) / static_cast<double>(k));
  }
  double term = 1;
  double sum = 1;
  for (int64_t k = fewer; k > 0 && term > sum * 1e-17; --k) {
    term *= static_cast<double>(k) / static_cast<double>(total - k + 1);
    sum += term;
  }
  return std::min(1.0, 2 * std::exp(log_term) * sum);
}

}  // namespace dissonance
