#include "src/compute/engine/sampling.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/topk.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "absl/strings/str_cat.h"
#include "src/base/mix.h"

namespace dissonance {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

std::vector<double> AsDoubles(const at::Tensor& row) {
  const at::Tensor wide = row.to(at::kDouble).contiguous();
  const double* data = wide.const_data_ptr<double>();
  return {data, data + wide.numel()};
}

void Penalize(double penalty, absl::Span<const int32_t> tokens,
              std::vector<double>& scores) {
  for (const int32_t token : std::set<int32_t>(tokens.begin(), tokens.end())) {
    double& score = scores[static_cast<size_t>(token)];
    score = score < 0 ? score * penalty : score / penalty;
  }
}

void KeepTopK(int64_t k, std::vector<double>& scores) {
  if (k <= 0 || k >= static_cast<int64_t>(scores.size())) return;
  std::vector<double> sorted = scores;
  std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(),
                   std::greater<>());
  const double least = sorted[static_cast<size_t>(k - 1)];
  for (double& score : scores) {
    if (score < least) score = kNever;
  }
}

// exp(score - best), not normalised.
std::vector<double> Weights(const std::vector<double>& scores) {
  const double best = *std::max_element(scores.begin(), scores.end());
  std::vector<double> weights(scores.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    weights[i] = std::exp(scores[i] - best);
  }
  return weights;
}

// The fewest most likely tokens that together reach `top_p`.
void KeepTopP(double top_p, std::vector<double>& weights) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  // All that are lighter than this weigh less than what may be left out, so
  // that few have to be sorted.
  const double lightest =
      (1.0 - top_p) * total / static_cast<double>(weights.size());
  std::vector<size_t> order;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] < lightest) {
      weights[i] = 0.0;
    } else {
      order.push_back(i);
    }
  }
  std::stable_sort(order.begin(), order.end(), [&weights](size_t a, size_t b) {
    return weights[a] > weights[b];
  });
  const double needed = top_p * total;
  double sum = 0.0;
  for (const size_t i : order) {
    if (sum >= needed) weights[i] = 0.0;
    sum += weights[i];
  }
}

size_t Draw(const std::vector<double>& weights, double uniform) {
  const double aim =
      uniform * std::accumulate(weights.begin(), weights.end(), 0.0);
  double sum = 0.0;
  size_t last = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0.0) continue;
    sum += weights[i];
    last = i;
    if (sum > aim) break;
  }
  return last;
}

absl::Status OutOfRange(const char* option, const char* range, double found) {
  return absl::InvalidArgumentError(
      absl::StrCat(option, ": expected ", range, ", found ", found));
}

}  // namespace

absl::Status CheckSampling(const SamplingOptions& options) {
  const double infinite = std::numeric_limits<double>::infinity();
  if (!(options.temperature >= 0 && options.temperature < infinite)) {
    return OutOfRange("temperature", "0 or more", options.temperature);
  }
  if (options.top_k < 0) {
    return OutOfRange("top_k", "0 or more", static_cast<double>(options.top_k));
  }
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return OutOfRange("top_p", "more than 0 and at most 1", options.top_p);
  }
  if (!(options.min_p >= 0 && options.min_p <= 1)) {
    return OutOfRange("min_p", "0 to 1", options.min_p);
  }
  if (!(options.repetition_penalty > 0 &&
        options.repetition_penalty < infinite)) {
    return OutOfRange("repetition_penalty", "more than 0",
                      options.repetition_penalty);
  }
  return absl::OkStatus();
}

int32_t SampleToken(const SamplingOptions& options, const at::Tensor& logits,
                    absl::Span<const int32_t> tokens, int64_t draw) {
  std::vector<double> scores = AsDoubles(logits);
  if (options.repetition_penalty != 1.0) {
    Penalize(options.repetition_penalty, tokens, scores);
  }
  if (options.temperature == 0.0) {
    return static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) -
                                scores.begin());
  }
  // From the best on, so that no quotient is infinite but the least likely's.
  const double best = *std::max_element(scores.begin(), scores.end());
  for (double& score : scores) score = (score - best) / options.temperature;
  KeepTopK(options.top_k, scores);
  std::vector<double> weights = Weights(scores);
  if (options.top_p < 1.0) KeepTopP(options.top_p, weights);
  // The most likely token's weight is 1.
  for (double& weight : weights) {
    if (weight < options.min_p) weight = 0.0;
  }
  const uint64_t bits = Mix(Mix(options.seed) ^ static_cast<uint64_t>(draw));
  constexpr double kUnit = 1.0 / 9007199254740992.0;  // 2^-53
  return static_cast<int32_t>(
      Draw(weights, static_cast<double>(bits >> 11) * kUnit));
}

std::vector<std::pair<int32_t, double>> TopTokens(const at::Tensor& logprobs,
                                                  int64_t k) {
  const int64_t vocab = logprobs.numel();
  const int64_t count = std::min(k, vocab);
  std::vector<std::pair<int32_t, double>> top;
  if (count <= 0) return top;
  // topk leaves open which of equals it gives: all that equal the last one are
  // looked at.
  const at::Tensor least = std::get<0>(at::topk(logprobs, count)).min();
  const at::Tensor ids = at::nonzero(logprobs >= least).flatten();
  const at::Tensor values =
      logprobs.index_select(0, ids).to(at::kCPU, at::kDouble);
  const at::Tensor ids_cpu = ids.to(at::kCPU);
  for (int64_t i = 0; i < values.numel(); ++i) {
    top.emplace_back(static_cast<int32_t>(ids_cpu.const_data_ptr<int64_t>()[i]),
                     values.const_data_ptr<double>()[i]);
  }
  std::stable_sort(top.begin(), top.end(), [](const auto& a, const auto& b) {
    return a.second > b.second;
  });
  top.resize(static_cast<size_t>(count));
  return top;
}

}  // namespace dissonance
