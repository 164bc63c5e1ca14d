// Many linear fits to the same rows at once, by L-BFGS (Liu & Nocedal 1989):
// each fit has its own training rows, labels, scaler and strength of the
// penalty, and all share two matrix products an iteration. The products are in
// float32 until derivatives are below 1e-5, then in float64; on the CPU once,
// after which float32 does for the changes. Everything else is in float64. A
// fit ends by its own derivatives, and takes the same steps alone and among
// others (off the CPU but for last bits). One thread at a time; may throw.
//
//   LinearFit fit(LinearLoss::kLogistic, rows, settings, options);
//   while (fit.Iterate()) {
//   }
//   fit.weights();  // [fits, 1, width]
#ifndef DISSONANCE_COMPUTE_PROBE_LINEAR_FIT_H_
#define DISSONANCE_COMPUTE_PROBE_LINEAR_FIT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

namespace dissonance {

// C * sum over training rows of the loss, + |w|^2 / 2.
enum class LinearLoss {
  kLogistic,  // log(1 + exp(-s f)), s = 1 for class 1, else -1
  kSoftmax,   // -log softmax(f)[class]
  kSquared,   // (f - label)^2 / 2
};

// What the fits see: x, scaled as (x - mean) * inverse_scale.
struct FitRows {
  at::Tensor coarse;                  // [n, width] float32
  std::function<at::Tensor()> exact;  // the same in float64
  at::Tensor mean = {};               // [masks, width] float64, or neither
  at::Tensor inverse_scale = {};      // [masks, width]
  at::Tensor masks;                   // [masks, n] float64: 1 trains
};

struct FitSettings {
  at::Tensor mask;       // [fits] int64: which
  at::Tensor labels;     // [fits, n] float64
  at::Tensor c;          // [fits] float64
  at::Tensor tolerance;  // [fits] float64: of derivatives / (c * training rows)
};

struct LinearFitOptions {
  int64_t class_count = 2;  // of kSoftmax
  bool penalize_intercept = false;
  int64_t max_iterations = 1000;  // in each part
  bool in_loops = true;  // on the CPU; else by torch's calls, as elsewhere
};

class LinearFit {
 public:
  // All tensors are on the rows' device.
  LinearFit(LinearLoss loss, FitRows rows, FitSettings settings,
            const LinearFitOptions& options);

  // One iteration of the fits that are left. Returns whether there are any.
  bool Iterate();

  // Once Iterate returned false; K is the number of classes of kSoftmax, else
  // 1. float64, on the rows' device.
  const at::Tensor& weights() const { return weights_; }        // [m, K, width]
  const at::Tensor& intercepts() const { return intercepts_; }  // [m, K]
  const at::Tensor& scores() const { return scores_; }          // [m, K, n]
  // Of each fit: the largest derivative left / (c * training rows).
  const std::vector<double>& gradient_max() const { return gradient_max_; }
  const std::vector<int64_t>& iterations() const { return iterations_; }

 private:
  // One step's change of weights and of gradient.
  struct Step {
    at::Tensor s;  // [m, K, width + 1]
    at::Tensor y;
    at::Tensor rho;  // [m] 1 / (y . s); 0: not to be used
  };

  void Begin(at::ScalarType dtype);
  at::Tensor Score(const at::Tensor& w) const;  // [m, K, n]
  at::Tensor Gradient(const at::Tensor& residual) const;
  at::Tensor Residual(const at::Tensor& f, at::Tensor* curvature,
                      const at::Tensor* along) const;
  at::Tensor Direction() const;
  at::Tensor Search(const at::Tensor& direction, const at::Tensor& along,
                    at::Tensor& residual);
  void Remember(const at::Tensor& change, const at::Tensor& gradient);
  // In loops over one fit's numbers; see linear_fit_loops.cc.
  at::Tensor ScoreInLoops(const at::Tensor& w) const;
  at::Tensor GradientInLoops(const at::Tensor& residual) const;
  void TwoLoops(at::Tensor& q) const;  // of Direction, in place
  // Searches, and makes the direction the change; returns the residual.
  at::Tensor MoveInLoops(const at::Tensor& direction, const at::Tensor& along);
  void RememberInLoops(const at::Tensor& change, const at::Tensor& gradient);
  at::Tensor Refined(const at::Tensor& residual, const at::Tensor& change);
  void KeepStep(Step step);
  // Keeps the results of fits that are done; lets them go once they are many.
  void Retire();
  void Store(const at::Tensor& which);
  void StoreFigures(const at::Tensor& which, const at::Tensor& numbers);
  void Keep(const at::Tensor& which);
  void BeginExact();               // in float64, with the fits that want it
  at::Tensor GradientMax() const;  // [m]
  int64_t penalized() const;       // weights of a class
  bool is_exact() const;           // past float32's part
  // A search ends where the slope has fallen to this share of its beginning.
  static constexpr double kSlopeShare = 0.25;
  static constexpr int kSearchSteps = 30;
  static constexpr double kLeastCurvature = 1e-14;  // y . s / (|y| |s|)
  const LinearLoss loss_;
  const FitRows rows_;
  const LinearFitOptions options_;
  const int64_t width_;
  const int64_t class_count_;  // K
  const bool in_loops_;
  // Of the fits that are under way.
  at::Tensor x_;             // [n, width] in the products' type
  at::Tensor x_transposed_;  // [width, n]
  FitSettings settings_;
  at::Tensor number_;         // [m] int64: which of all
  at::Tensor stored_;         // [m] bool: its results are kept
  at::Tensor inverse_scale_;  // [m, 1, width], in x's type
  at::Tensor mean_;           // [m, 1, width]
  at::Tensor mask_;           // [m, 1, n] float64: c where it trains
  at::Tensor unit_;           // [m] c * training rows
  at::Tensor w_;              // [m, K, width + 1]; the last: intercepts
  at::Tensor f_;              // [m, K, n]
  at::Tensor g_;              // [m, K, width + 1]
  at::Tensor residual_;       // [m, K, n] that g_ is of, while it is refined
  std::deque<Step> steps_;
  at::Tensor step_scale_;  // [m] of the first direction; see Direction
  at::Tensor stalled_;     // [m] bool
  int64_t iteration_ = 0;  // in this part

  // Of all fits.
  const FitSettings all_settings_;
  at::Tensor all_scales_;        // [fits] the last step's, of float32
  std::vector<Step> all_steps_;  // the last ones of float32, newest first
  at::Tensor weights_;
  at::Tensor intercepts_;
  at::Tensor scores_;
  std::vector<double> gradient_max_;
  std::vector<int64_t> iterations_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_LINEAR_FIT_H_
