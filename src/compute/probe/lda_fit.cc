#include "src/compute/probe/lda_fit.h"

#include <ATen/TensorOperators.h>

#include <utility>

namespace dissonance {

LdaFit::LdaFit(const FitRows& rows, FitSettings settings,
               const at::Tensor& total_variance, int64_t width,
               double shrinkage)
    : settings_(std::move(settings)), shrinkage_(shrinkage) {
  const at::Tensor x = rows.exact();
  const at::Tensor trains = rows.masks.index_select(0, settings_.mask);
  const at::Tensor ones = trains * settings_.labels;
  const at::Tensor zeros = trains - ones;
  const at::Tensor one_count = ones.sum(1).clamp_min(1.0);
  const at::Tensor zero_count = zeros.sum(1).clamp_min(1.0);
  const at::Tensor one_mean = ones.mm(x) / one_count.unsqueeze(1);
  const at::Tensor zero_mean = zeros.mm(x) / zero_count.unsqueeze(1);
  difference_ = one_mean - zero_mean;
  middle_ = 0.5 * (one_mean + zero_mean);
  if (rows.mean.defined()) {
    const at::Tensor inverse =
        rows.inverse_scale.index_select(0, settings_.mask);
    difference_ = difference_ * inverse;
    middle_ = (middle_ - rows.mean.index_select(0, settings_.mask)) * inverse;
  }
  const at::Tensor count = trains.sum(1);
  between_ = one_count * zero_count / count.square();
  log_odds_ = (one_count / zero_count).log();
  const at::Tensor within = total_variance.index_select(0, settings_.mask) -
                            between_ * difference_.square().sum(1);
  const at::Tensor ridge = shrinkage * within / static_cast<double>(width);
  settings_.c = (1.0 - shrinkage) / (count * ridge);
}

void LdaFit::Finish(at::Tensor& weights, at::Tensor& intercepts,
                    at::Tensor& scores) const {
  const at::Tensor own = weights.squeeze(1);
  const at::Tensor length = 1.0 / (between_ * (1.0 - shrinkage_) *
                                   (1.0 - (difference_ * own).sum(1)));
  const at::Tensor discriminants = own * length.unsqueeze(1);
  const at::Tensor offset = log_odds_ - (middle_ * discriminants).sum(1);
  scores = (scores - intercepts.unsqueeze(2)) * length.view({-1, 1, 1}) +
           offset.view({-1, 1, 1});
  weights = discriminants.unsqueeze(1);
  intercepts = offset.unsqueeze(1);
}

}  // namespace dissonance
