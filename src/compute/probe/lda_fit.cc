#include "src/compute/probe/lda_fit.h"

#include <ATen/TensorOperators.h>

#include <utility>

namespace dissonance {

LdaFit::LdaFit(const FitRows& rows, FitColumns columns,
               const at::Tensor& total_variance, int64_t width,
               double shrinkage)
    : columns_(std::move(columns)), shrinkage_(shrinkage) {
  const at::Tensor x = rows.exact();
  const at::Tensor trains = rows.masks.index_select(1, columns_.mask);
  const at::Tensor ones = trains * columns_.labels;
  const at::Tensor zeros = trains - ones;
  const at::Tensor one_count = ones.sum(0).clamp_min(1.0);
  const at::Tensor zero_count = zeros.sum(0).clamp_min(1.0);
  const at::Tensor one_mean = x.t().mm(ones) / one_count;
  const at::Tensor zero_mean = x.t().mm(zeros) / zero_count;
  difference_ = one_mean - zero_mean;
  middle_ = 0.5 * (one_mean + zero_mean);
  if (rows.mean.defined()) {
    const at::Tensor inverse =
        rows.inverse_scale.index_select(1, columns_.mask);
    difference_ = difference_ * inverse;
    middle_ = (middle_ - rows.mean.index_select(1, columns_.mask)) * inverse;
  }
  const at::Tensor count = trains.sum(0);
  between_ = one_count * zero_count / count.square();
  log_odds_ = (one_count / zero_count).log();
  const at::Tensor within = total_variance.index_select(0, columns_.mask) -
                            between_ * difference_.square().sum(0);
  const at::Tensor ridge = shrinkage * within / static_cast<double>(width);
  columns_.c = (1.0 - shrinkage) / (count * ridge);
}

void LdaFit::Finish(at::Tensor& weights, at::Tensor& intercepts,
                    at::Tensor& scores) const {
  const at::Tensor own = weights.squeeze(2);
  const at::Tensor length = 1.0 / (between_ * (1.0 - shrinkage_) *
                                   (1.0 - (difference_ * own).sum(0)));
  const at::Tensor discriminants = own * length;
  const at::Tensor offset = log_odds_ - (middle_ * discriminants).sum(0);
  scores = (scores.squeeze(2) - intercepts.squeeze(1)) * length + offset;
  scores = scores.unsqueeze(2);
  weights = discriminants.unsqueeze(2);
  intercepts = offset.unsqueeze(1);
}

}  // namespace dissonance
