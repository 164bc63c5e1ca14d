// What probes are told, and what comes of them. Values.
#ifndef DISSONANCE_COMPUTE_PROBE_PROBE_OPTIONS_H_
#define DISSONANCE_COMPUTE_PROBE_PROBE_OPTIONS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace dissonance {

enum class ProbeMethod { kLogistic, kRidge, kMassMean, kLda };

// See ProbeOptions in proto/dissonance/v1/probes.proto.
struct ProbeOptions {
  ProbeMethod method = ProbeMethod::kLogistic;
  std::vector<double> c_values = {0.1};
  bool penalize_intercept = false;
  bool scale = true;
  int64_t fold_count = 5;
  std::vector<int32_t> fold_of_row = {};  // empty: drawn
  double test_fraction = 0.2;
  uint64_t seed = 42;
  int64_t permutation_count = 20;
  int64_t bootstrap_count = 1000;
  double tolerance = 1e-7;
  int64_t max_iterations = 1000;
  double shrinkage = 0.1;
  bool transfer = false;
};

// Of each row a class from 0, or a value (ridge). -1 and NaN leave a row out.
struct ProbeLabels {
  std::vector<int32_t> classes = {};
  std::vector<double> values = {};
};

// A question put to the rows of all variants.
struct ProbeTarget {
  std::string name;
  std::vector<ProbeLabels> labels;  // one, or one per variant
};

struct FoldFigure {
  double mean = std::numeric_limits<double>::quiet_NaN();
  double deviation = std::numeric_limits<double>::quiet_NaN();
  std::optional<double> low = std::nullopt;   // 95 % bootstrap interval
  std::optional<double> high = std::nullopt;  // of the mean
  std::vector<double> folds = {};
};

struct ProbeTransfer {
  int64_t variant = 0;  // whose rows
  FoldFigure auc;
  FoldFigure accuracy;
};

enum class ProbeVerdict { kUntested, kNone, kSignal, kLeak };

// The fit to all rows: decision = sum of weight * (x - mean) / scale, +
// intercept. On the CPU, float64.
struct ProbeWeights {
  at::Tensor weight;               // [width], or [classes, width]
  std::vector<double> intercepts;  // one, or one per class
  at::Tensor mean;                 // [width]
  at::Tensor scale;                // [width]
};

// See ProbeResult in proto/dissonance/v1/probes.proto.
struct FittedProbe {
  int64_t target = 0;
  int64_t variant = 0;
  double c = 0.0;
  std::optional<FoldFigure> auc = std::nullopt;  // unset for ridge
  FoldFigure accuracy;
  std::optional<double> split_auc = std::nullopt;
  std::optional<double> split_accuracy = std::nullopt;
  std::optional<double> dummy_auc_mean = std::nullopt;
  std::optional<double> dummy_auc_deviation = std::nullopt;
  std::optional<double> p_value = std::nullopt;
  std::vector<int32_t> class_counts;
  std::vector<ProbeTransfer> transfers;
  ProbeVerdict verdict = ProbeVerdict::kUntested;
  bool converged = true;
  int64_t iterations = 0;
  double gradient_max = 0.0;
  ProbeWeights weights;
  at::Tensor direction = {};  // [width], float64, length 1; undefined for more
                              // than two classes or where nothing varies
  double direction_norm = 0.0;
  double direction_bias = 0.0;
  double residual_norm = 0.0;     // mean length of the rows used
  std::vector<double> decisions;  // of each row, out of fold; NaN: none
  std::string note;               // "all rows are equal here"
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_PROBE_OPTIONS_H_
