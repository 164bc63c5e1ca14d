// The numbers of a multiple-choice evaluation: from log-probabilities of
// continuations to probabilities, uncertainty, intervals and tests. Pure
// functions of their arguments, natural logarithms, nats; thread safe.
//
//   std::array<double, 4> probs = Softmax({-1.0, -2.0, -3.0, -4.0});
//   double entropy = Entropy(probs);
//   Interval accuracy = WilsonInterval(34, 40);
#ifndef DISSONANCE_LAB_EVAL_MCQ_METRICS_H_
#define DISSONANCE_LAB_EVAL_MCQ_METRICS_H_

#include <array>
#include <cstdint>

#include "absl/types/span.h"
#include "src/lab/eval/mcq_data.h"

namespace dissonance {

// One number for each option, A to D.
using PerOption = std::array<double, kMcqOptionCount>;

// log(sum(exp(x))) without overflow. REQUIRES: not empty.
double LogSumExp(absl::Span<const double> values);

// exp(x) / sum(exp(x)) without overflow. REQUIRES: finite numbers.
PerOption Softmax(const PerOption& logprobs);

// -sum(p log p), 0 log 0 = 0.
double Entropy(const PerOption& probs);

// The option with the greatest score; of equal ones the first.
int Argmax(const PerOption& scores);

// What Monte-Carlo dropout says about a prediction, in nats. H_mean, the
// entropy of the mean distribution, is the whole uncertainty; E_H, the mean
// entropy, is the part that every sample has; MI, their difference and never
// below 0, is the part on which the samples disagree. (Gal and Ghahramani
// 2016; Houlsby et al. 2011.)
struct Uncertainty {
  double h_mean = 0;
  double e_h = 0;
  double mi = 0;
};

// Of the samples' distributions. With one sample, as for a network without
// dropout: H_mean = E_H, MI = 0. REQUIRES: not empty.
Uncertainty UncertaintyOf(absl::Span<const PerOption> samples);

struct Interval {
  double low = 0;
  double high = 1;
};

// Wilson's 95 % score interval of a share; [0, 1] for total 0.
Interval WilsonInterval(int64_t hits, int64_t total);

// McNemar's exact two-sided p: the probability that a fair coin, thrown
// first + second times, is at least as far from even. `first` and `second`
// count the discordant pairs of each kind; 1 if there are none.
double McNemarExactP(int64_t first, int64_t second);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_MCQ_METRICS_H_
