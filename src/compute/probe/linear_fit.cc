#include "src/compute/probe/linear_fit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <limits>
#include <utility>

#include "src/compute/probe/thin_product.h"

namespace dissonance {
namespace {

constexpr size_t kHistory = 10;
// Below it float32's rounding begins to show in the derivatives.
constexpr double kCoarseTolerance = 1e-5;
// Fits that are done are let go once they are one in so many.
constexpr int64_t kKeptShare = 4;

// Sum over classes and weights, or rows, of each fit: [m, K, *] -> [m].
at::Tensor Sum(const at::Tensor& x) { return x.sum(at::IntArrayRef{1, 2}); }
at::Tensor Dot(const at::Tensor& a, const at::Tensor& b) { return Sum(a * b); }

// [m] as a factor of [m, K, *].
at::Tensor Wide(const at::Tensor& x) { return x.view({-1, 1, 1}); }

at::Tensor Take(const at::Tensor& x, const at::Tensor& which) {
  return x.index_select(0, which);
}

// a [m, K, in] times b [out, in] transposed: [m, K, out].
at::Tensor Product(const at::Tensor& a, const at::Tensor& b) {
  return ThinProduct(a.reshape({-1, a.size(2)}), b)
      .view({a.size(0), a.size(1), -1});
}

}  // namespace

LinearFit::LinearFit(LinearLoss loss, FitRows rows, FitSettings settings,
                     const LinearFitOptions& options)
    : loss_(loss),
      rows_(std::move(rows)),
      options_(options),
      width_(rows_.coarse.size(1)),
      class_count_(loss == LinearLoss::kSoftmax ? options.class_count : 1),
      in_loops_(options.in_loops && rows_.coarse.is_cpu()),
      settings_(std::move(settings)),
      all_settings_(settings_) {
  settings_.labels = settings_.labels.contiguous();
  const int64_t m = settings_.c.size(0);
  const at::TensorOptions exact = rows_.masks.options();
  number_ = at::arange(m, settings_.mask.options());
  w_ = at::zeros({m, class_count_, width_ + 1}, exact);
  weights_ = at::zeros({m, class_count_, width_}, exact);
  intercepts_ = at::zeros({m, class_count_}, exact);
  scores_ = at::zeros({m, class_count_, rows_.masks.size(1)}, exact);
  gradient_max_.assign(static_cast<size_t>(m), 0.0);
  iterations_.assign(static_cast<size_t>(m), 0);
  all_scales_ = at::zeros({m}, exact);
  Begin(rows_.coarse.scalar_type());
}

void LinearFit::Begin(at::ScalarType dtype) {
  const at::Tensor coarse_transposed = x_transposed_;
  x_ = (dtype == rows_.coarse.scalar_type() ? rows_.coarse : rows_.exact())
           .contiguous();
  x_transposed_ = x_.t().contiguous();
  const at::Tensor masks = Take(rows_.masks, settings_.mask);
  unit_ = settings_.c * masks.sum(1);
  mask_ = (masks * settings_.c.unsqueeze(1)).unsqueeze(1);
  if (rows_.mean.defined()) {
    inverse_scale_ =
        Take(rows_.inverse_scale, settings_.mask).to(dtype).unsqueeze(1);
    mean_ = Take(rows_.mean, settings_.mask).to(dtype).unsqueeze(1);
  }
  f_ = Score(w_);
  const at::Tensor residual = Residual(f_, nullptr, nullptr);
  g_ = Gradient(residual);
  stalled_ = at::zeros_like(settings_.mask, at::kBool);
  stored_ = at::zeros_like(stalled_);
  // The first step has the size of a weight, not of a gradient.
  if (!step_scale_.defined()) step_scale_ = 1.0 / unit_;
  steps_.clear();
  iteration_ = 0;
  if (!in_loops_ || dtype == rows_.coarse.scalar_type()) return;
  // From here on only changes are computed, for which float32 is enough: its
  // rounding is a share of them.
  residual_ = residual;
  x_ = rows_.coarse.contiguous();
  x_transposed_ = coarse_transposed;
  if (mean_.defined()) {
    inverse_scale_ = inverse_scale_.to(x_.scalar_type());
    mean_ = mean_.to(x_.scalar_type());
  }
}

bool LinearFit::is_exact() const {
  return residual_.defined() || x_.scalar_type() == at::kDouble;
}

// The gradient after a change of the weights that led to this residual.
at::Tensor LinearFit::Refined(const at::Tensor& residual,
                              const at::Tensor& change) {
  const int64_t count = penalized();
  at::Tensor gradient = Gradient(residual - residual_).add_(g_);
  gradient.slice(2, 0, count)
      .add_(change.slice(2, 0, count))
      .sub_(w_.slice(2, 0, count));
  residual_ = residual;
  return gradient;
}

at::Tensor LinearFit::Score(const at::Tensor& w) const {
  if (in_loops_) return ScoreInLoops(w);
  at::Tensor own = w.slice(2, 0, width_).to(x_.scalar_type());
  at::Tensor offset = w.slice(2, width_);  // [m, K, 1]
  if (mean_.defined()) {
    own = own * inverse_scale_;
    offset = offset - (own * mean_).sum(at::IntArrayRef{2}, true);
  }
  return Product(own, x_).to(at::kDouble) + offset;
}

at::Tensor LinearFit::Gradient(const at::Tensor& residual) const {
  if (in_loops_) return GradientInLoops(residual);
  const at::Tensor sums = residual.sum(at::IntArrayRef{2}, true);  // [m, K, 1]
  at::Tensor slopes = Product(residual.to(x_.scalar_type()), x_transposed_);
  if (mean_.defined()) {
    slopes = (slopes - mean_ * sums.to(slopes.scalar_type())) * inverse_scale_;
  }
  at::Tensor gradient = at::cat({slopes.to(at::kDouble), sums}, 2);
  gradient.slice(2, 0, penalized()).add_(w_.slice(2, 0, penalized()));
  return gradient;
}

int64_t LinearFit::penalized() const {
  return options_.penalize_intercept ? width_ + 1 : width_;
}

// The derivative of the losses by the scores; with `curvature` also the second
// derivative along `along`, summed over rows and classes.
at::Tensor LinearFit::Residual(const at::Tensor& f, at::Tensor* curvature,
                               const at::Tensor* along) const {
  const at::Tensor labels = settings_.labels.unsqueeze(1);
  if (loss_ == LinearLoss::kSquared) {
    if (curvature != nullptr) {
      *curvature = Sum(mask_ * *along * *along);
    }
    return mask_ * (f - labels);
  }
  if (loss_ == LinearLoss::kLogistic) {
    const at::Tensor p = at::sigmoid(f);
    if (curvature != nullptr) {
      *curvature = Sum(mask_ * p * (1.0 - p) * *along * *along);
    }
    return mask_ * (p - labels);
  }
  const at::Tensor p = at::softmax(f, 1);
  if (curvature != nullptr) {
    const at::Tensor mean = (p * *along).sum(1, true);
    const at::Tensor square = (p * *along * *along).sum(1, true);
    *curvature = Sum(mask_ * (square - mean * mean));
  }
  const at::Tensor classes =
      at::arange(class_count_, settings_.labels.options()).view({1, -1, 1});
  return mask_ * (p - (labels == classes).to(at::kDouble));
}

at::Tensor LinearFit::Direction() const {
  at::Tensor q = -g_;
  if (steps_.empty()) return q * Wide(step_scale_);
  if (in_loops_) {
    TwoLoops(q);
    return q;
  }
  std::vector<at::Tensor> alphas;
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    alphas.push_back(step->rho * Dot(step->s, q));
    q.sub_(step->y * Wide(alphas.back()));
  }
  q.mul_(Wide(step_scale_));
  for (const Step& step : steps_) {
    const at::Tensor beta = step.rho * Dot(step.y, q);
    q.add_(step.s * Wide(alphas.back() - beta));
    alphas.pop_back();
  }
  return q;
}

// Newton's method on the step's length between bounds: the objective is convex,
// so its slope rises and changes its sign once.
at::Tensor LinearFit::Search(const at::Tensor& direction,
                             const at::Tensor& along, at::Tensor& residual) {
  const at::Tensor own = direction.slice(2, 0, penalized());
  const at::Tensor penalty_linear = Dot(w_.slice(2, 0, penalized()), own);
  const at::Tensor penalty_square = Dot(own, own);
  const at::Tensor start = Dot(g_, direction);  // below 0
  at::Tensor t = at::ones_like(start);
  at::Tensor low = at::zeros_like(t);
  at::Tensor high = at::full_like(t, std::numeric_limits<double>::infinity());
  for (int i = 0;; ++i) {
    at::Tensor curvature;
    residual = Residual(f_ + Wide(t) * along, &curvature, &along);
    const at::Tensor slope =
        Dot(residual, along) + penalty_linear + t * penalty_square;
    const at::Tensor done = slope.abs() <= kSlopeShare * start.abs();
    if (i == kSearchSteps || done.all().item<bool>()) return t;
    low = at::where(slope < 0.0, t, low);
    high = at::where(slope > 0.0, t, high);
    const at::Tensor newton = t - slope / (curvature + penalty_square);
    const at::Tensor middle =
        at::where(high.isinf(), 4.0 * t, 0.5 * (low + high));
    const at::Tensor inside = (newton > low)
                                  .logical_and(newton < high)
                                  .logical_and(newton <= 4.0 * t);
    t = at::where(done, t, at::where(inside, newton, middle));
  }
}

void LinearFit::Remember(const at::Tensor& change, const at::Tensor& gradient) {
  Step step{
      .s = change.contiguous(), .y = (gradient - g_).contiguous(), .rho = {}};
  const at::Tensor product = Dot(step.y, step.s);
  const at::Tensor usable =
      product >
      kLeastCurvature * Dot(step.y, step.y).mul(Dot(step.s, step.s)).sqrt();
  step.rho = at::where(usable, 1.0 / product, at::zeros_like(product));
  step_scale_ = at::where(usable, product / Dot(step.y, step.y), step_scale_);
  // Rounding has the last word where the change of gradient is not along it.
  stalled_ = usable.logical_not();
  g_ = gradient;
  KeepStep(std::move(step));
}

void LinearFit::KeepStep(Step step) {
  if (steps_.size() == kHistory) steps_.pop_front();
  steps_.push_back(std::move(step));
}

at::Tensor LinearFit::GradientMax() const {
  return g_.abs().amax({1, 2}) / unit_;
}

bool LinearFit::Iterate() {
  if (number_.size(0) == 0) return false;
  const at::Tensor direction = Direction();
  const at::Tensor along =
      Score(direction);  // scores are linear in the weights
  if (in_loops_) {
    const at::Tensor residual = MoveInLoops(direction, along);
    RememberInLoops(direction, residual_.defined()
                                   ? Refined(residual, direction)
                                   : Gradient(residual));
  } else {
    at::Tensor residual;
    const at::Tensor t = Search(direction, along, residual);
    const at::Tensor change = direction * Wide(t);
    w_ = w_ + change;
    f_ = f_ + Wide(t) * along;
    Remember(change, Gradient(residual));
  }
  ++iteration_;
  Retire();
  return number_.size(0) > 0;
}

void LinearFit::Retire() {
  const bool is_coarse = !is_exact();
  const at::Tensor wanted =
      is_coarse ? settings_.tolerance.clamp_min(kCoarseTolerance)
                : settings_.tolerance;
  at::Tensor fresh = (GradientMax() <= wanted).logical_or(stalled_);
  if (iteration_ >= options_.max_iterations) fresh = at::ones_like(fresh);
  fresh = fresh.logical_and(stored_.logical_not());
  Store(fresh.nonzero().view({-1}));
  stored_ = stored_.logical_or(fresh);
  const int64_t count = stored_.sum().item<int64_t>();
  if (count == stored_.size(0) && is_coarse) {
    BeginExact();
  } else if (kKeptShare * count >= stored_.size(0)) {
    // Going on with a few that are done costs less than copying the others.
    Keep(stored_.logical_not().nonzero().view({-1}));
  }
}

void LinearFit::BeginExact() {
  // Fits that may not iterate any more stay as they are.
  const at::Tensor goes_on =
      at::tensor(iterations_, all_settings_.mask.options()) <
      options_.max_iterations;
  const at::Tensor which = (all_settings_.tolerance < kCoarseTolerance)
                               .logical_and(goes_on)
                               .nonzero()
                               .view({-1});
  number_ = which;
  if (which.size(0) == 0) return;
  settings_ = {.mask = Take(all_settings_.mask, which),
               .labels = Take(all_settings_.labels, which),
               .c = Take(all_settings_.c, which),
               .tolerance = Take(all_settings_.tolerance, which)};
  w_ = at::cat({Take(weights_, which), Take(intercepts_, which).unsqueeze(2)},
               2);
  step_scale_ = Take(all_scales_, which);
  Begin(at::kDouble);
  // Each fit goes on with the curvature that it has seen.
  for (auto step = all_steps_.rbegin(); step != all_steps_.rend(); ++step) {
    steps_.push_back({.s = Take(step->s, which),
                      .y = Take(step->y, which),
                      .rho = Take(step->rho, which)});
  }
  all_steps_.clear();
  Retire();  // those that float32 brought to the end
}

void LinearFit::Store(const at::Tensor& which) {
  if (which.size(0) == 0) return;
  const at::Tensor numbers = Take(number_, which);
  const at::Tensor own = Take(w_, which);
  weights_.index_copy_(0, numbers, own.slice(2, 0, width_));
  intercepts_.index_copy_(0, numbers, own.select(2, width_));
  scores_.index_copy_(0, numbers, Take(f_, which));
  if (is_exact()) return StoreFigures(which, numbers);
  all_scales_.index_copy_(0, numbers, Take(step_scale_, which));
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (i == all_steps_.size()) {
      const at::Tensor none =
          at::zeros({weights_.size(0), w_.size(1), w_.size(2)}, w_.options());
      all_steps_.push_back(
          {.s = none, .y = none.clone(), .rho = at::zeros_like(all_scales_)});
    }
    const Step& from = steps_[steps_.size() - 1 - i];
    all_steps_[i].s.index_copy_(0, numbers, Take(from.s, which));
    all_steps_[i].y.index_copy_(0, numbers, Take(from.y, which));
    all_steps_[i].rho.index_copy_(0, numbers, Take(from.rho, which));
  }
  StoreFigures(which, numbers);
}

void LinearFit::StoreFigures(const at::Tensor& which,
                             const at::Tensor& numbers) {
  const at::Tensor largest = GradientMax().index_select(0, which).to(at::kCPU);
  const at::Tensor on_host = numbers.to(at::kCPU);
  for (int64_t i = 0; i < on_host.size(0); ++i) {
    const auto column = static_cast<size_t>(on_host[i].item<int64_t>());
    gradient_max_[column] = largest[i].item<double>();
    iterations_[column] += iteration_;
  }
}

void LinearFit::Keep(const at::Tensor& which) {
  if (which.size(0) == number_.size(0)) return;
  number_ = Take(number_, which);
  settings_.mask = Take(settings_.mask, which);
  settings_.labels = Take(settings_.labels, which);
  settings_.c = Take(settings_.c, which);
  settings_.tolerance = Take(settings_.tolerance, which);
  if (mean_.defined()) {
    inverse_scale_ = Take(inverse_scale_, which);
    mean_ = Take(mean_, which);
  }
  mask_ = Take(mask_, which);
  unit_ = Take(unit_, which);
  w_ = Take(w_, which);
  f_ = Take(f_, which);
  g_ = Take(g_, which);
  if (residual_.defined()) residual_ = Take(residual_, which);
  stalled_ = Take(stalled_, which);
  stored_ = Take(stored_, which);
  step_scale_ = Take(step_scale_, which);
  for (Step& step : steps_) {
    step.s = Take(step.s, which);
    step.y = Take(step.y, which);
    step.rho = Take(step.rho, which);
  }
}

}  // namespace dissonance
