// Linear discriminants of two classes as least squares: with labels 0 and 1 and
// the right penalty, the weights of a ridge regression lie along the
// discriminant of the shrunk pooled covariance (1 - s) S + s tr(S) / d I
// (Friedman 1989; the between-class part of the total covariance lies along the
// difference of means and changes only the length). May throw c10::Error.
//
//   LdaFit lda(rows, settings, total_variance, shrinkage);
//   LinearFit fit(LinearLoss::kSquared, rows, lda.settings(), options);
//   ...
//   lda.Finish(weights, intercepts, scores);
#ifndef DISSONANCE_COMPUTE_PROBE_LDA_FIT_H_
#define DISSONANCE_COMPUTE_PROBE_LDA_FIT_H_

#include <ATen/core/Tensor.h>

#include "src/compute/probe/linear_fit.h"

namespace dissonance {

class LdaFit {
 public:
  // `total_variance` of each mask's training rows, [masks]; `width` is that of
  // the rows, which may be given in fewer coordinates. Labels are 0 and 1.
  LdaFit(const FitRows& rows, FitSettings settings,
         const at::Tensor& total_variance, int64_t width, double shrinkage);

  // With each fit's own C.
  const FitSettings& settings() const { return settings_; }

  // From those of the least squares to those of the discriminants, in place:
  // [m, 1, width], [m, 1], [m, 1, n].
  void Finish(at::Tensor& weights, at::Tensor& intercepts,
              at::Tensor& scores) const;

 private:
  FitSettings settings_;
  const double shrinkage_;
  at::Tensor difference_;  // [m, width] of the class means, scaled
  at::Tensor middle_;      // [m, width] of both, scaled
  at::Tensor between_;     // [m] share of class 1 times share of class 0
  at::Tensor log_odds_;    // [m] of the classes' shares
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_LDA_FIT_H_
