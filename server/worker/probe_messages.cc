#include "server/worker/probe_messages.h"

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/worker/interp_messages.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

absl::StatusOr<ProbeMethod> MethodOf(v1::ProbeMethod method) {
  switch (method) {
    case v1::PROBE_METHOD_UNSPECIFIED:
    case v1::PROBE_METHOD_LOGISTIC:
      return ProbeMethod::kLogistic;
    case v1::PROBE_METHOD_RIDGE:
      return ProbeMethod::kRidge;
    case v1::PROBE_METHOD_MASS_MEAN:
      return ProbeMethod::kMassMean;
    case v1::PROBE_METHOD_LDA:
      return ProbeMethod::kLda;
    default:
      return absl::InvalidArgumentError(absl::StrCat(
          "method: ", static_cast<int>(method), " is none that is known here"));
  }
}

v1::ProbeVerdict ToMessage(ProbeVerdict verdict) {
  switch (verdict) {
    case ProbeVerdict::kUntested:
      return v1::PROBE_VERDICT_UNSPECIFIED;
    case ProbeVerdict::kNone:
      return v1::PROBE_VERDICT_NONE;
    case ProbeVerdict::kSignal:
      return v1::PROBE_VERDICT_SIGNAL;
    case ProbeVerdict::kLeak:
      return v1::PROBE_VERDICT_LEAK;
  }
  return v1::PROBE_VERDICT_UNSPECIFIED;
}

void FillFigure(const FoldFigure& figure, v1::FoldFigure& out) {
  out.set_mean(figure.mean);
  out.set_deviation(figure.deviation);
  if (figure.low.has_value()) out.set_low(*figure.low);
  if (figure.high.has_value()) out.set_high(*figure.high);
  out.mutable_folds()->Add(figure.folds.begin(), figure.folds.end());
}

void FillWeights(const ProbeWeights& weights, at::ScalarType dtype,
                 v1::ProbeWeights& out) {
  FillTensor(weights.weight, dtype, *out.mutable_weight());
  out.mutable_intercepts()->Add(weights.intercepts.begin(),
                                weights.intercepts.end());
  FillTensor(weights.mean, dtype, *out.mutable_mean());
  FillTensor(weights.scale, dtype, *out.mutable_scale());
}

// What the controls and the further split say.
void FillJudgement(const FittedProbe& probe, v1::ProbeResult& out) {
  if (probe.split_auc.has_value()) out.set_split_auc(*probe.split_auc);
  if (probe.split_accuracy.has_value()) {
    out.set_split_accuracy(*probe.split_accuracy);
  }
  if (probe.dummy_auc_mean.has_value()) {
    out.set_dummy_auc_mean(*probe.dummy_auc_mean);
  }
  if (probe.dummy_auc_deviation.has_value()) {
    out.set_dummy_auc_deviation(*probe.dummy_auc_deviation);
  }
  if (probe.p_value.has_value()) out.set_p_value(*probe.p_value);
  out.set_verdict(ToMessage(probe.verdict));
  for (const ProbeTransfer& own : probe.transfers) {
    v1::ProbeTransfer& transfer = *out.add_transfers();
    transfer.set_variant_index(static_cast<int32_t>(own.variant));
    FillFigure(own.auc, *transfer.mutable_auc());
    FillFigure(own.accuracy, *transfer.mutable_accuracy());
  }
}

}  // namespace

absl::StatusOr<ProbeOptions> OptionsOf(const v1::ProbeOptions& message) {
  ProbeOptions options;
  ASSIGN_OR_RETURN(options.method, MethodOf(message.method()));
  if (!message.c_values().empty()) {
    options.c_values = {message.c_values().begin(), message.c_values().end()};
  }
  if (!v1::ProbeIntercept_IsValid(message.intercept())) {
    return absl::InvalidArgumentError(
        absl::StrCat("intercept: ", static_cast<int>(message.intercept()),
                     " is none that is known here"));
  }
  options.penalize_intercept =
      message.intercept() == v1::PROBE_INTERCEPT_PENALIZED;
  options.scale = !message.skip_scaling();
  if (message.fold_count() != 0) options.fold_count = message.fold_count();
  options.fold_of_row = {message.fold_of_input().begin(),
                         message.fold_of_input().end()};
  if (message.has_test_fraction()) {
    options.test_fraction = message.test_fraction();
  }
  if (message.has_seed()) options.seed = message.seed();
  if (message.has_permutation_count()) {
    options.permutation_count = message.permutation_count();
  }
  if (message.has_bootstrap_count()) {
    options.bootstrap_count = message.bootstrap_count();
  }
  if (message.tolerance() != 0.0) options.tolerance = message.tolerance();
  if (message.max_iteration_count() != 0) {
    options.max_iterations = message.max_iteration_count();
  }
  if (message.has_shrinkage()) options.shrinkage = message.shrinkage();
  options.transfer = message.transfer();
  return options;
}

ProbeLabels LabelsOf(const v1::ProbeLabels& message) {
  ProbeLabels labels;
  labels.classes = {message.classes().begin(), message.classes().end()};
  labels.values = {message.values().begin(), message.values().end()};
  return labels;
}

std::vector<ProbeTarget> TargetsOf(
    const google::protobuf::RepeatedPtrField<v1::ProbeTarget>& messages) {
  std::vector<ProbeTarget> targets;
  for (const v1::ProbeTarget& message : messages) {
    ProbeTarget& target = targets.emplace_back();
    target.name = message.name();
    for (const v1::ProbeLabels& labels : message.labels()) {
      target.labels.push_back(LabelsOf(labels));
    }
  }
  return targets;
}

v1::ProbeFolds FoldsMessage(const ProbeProblem& problem, int64_t row_count) {
  v1::ProbeFolds folds;
  folds.set_target_index(static_cast<int32_t>(problem.target));
  folds.set_variant_index(static_cast<int32_t>(problem.variant));
  folds.mutable_fold_of_input()->Resize(static_cast<int>(row_count), -1);
  for (size_t i = 0; i < problem.rows.size(); ++i) {
    folds.set_fold_of_input(static_cast<int>(problem.rows[i]), problem.fold[i]);
    if (!problem.in_split_test.empty() && problem.in_split_test[i]) {
      folds.add_split_inputs(static_cast<int32_t>(problem.rows[i]));
    }
  }
  return folds;
}

v1::ProbeResult ResultMessage(const FittedProbe& probe,
                              const v1::SiteRef& place, at::ScalarType dtype) {
  v1::ProbeResult out;
  out.set_target_index(static_cast<int32_t>(probe.target));
  out.set_variant_index(static_cast<int32_t>(probe.variant));
  *out.mutable_place() = place;
  out.set_c(probe.c);
  if (probe.auc.has_value()) FillFigure(*probe.auc, *out.mutable_auc());
  FillFigure(probe.accuracy, *out.mutable_accuracy());
  FillJudgement(probe, out);
  out.mutable_class_counts()->Add(probe.class_counts.begin(),
                                  probe.class_counts.end());
  out.set_converged(probe.converged);
  out.set_iteration_count(static_cast<int32_t>(probe.iterations));
  out.set_gradient_max(probe.gradient_max);
  FillWeights(probe.weights, dtype, *out.mutable_weights());
  if (probe.direction.defined()) {
    FillTensor(probe.direction, dtype, *out.mutable_direction());
  }
  out.set_direction_norm(probe.direction_norm);
  out.set_direction_bias(probe.direction_bias);
  out.set_residual_norm(probe.residual_norm);
  out.mutable_decisions()->Add(probe.decisions.begin(), probe.decisions.end());
  out.set_note(probe.note);
  return out;
}

v1::PrincipalComponents ComponentsMessage(const PrincipalComponents& found,
                                          const v1::SiteRef& place,
                                          at::ScalarType dtype) {
  v1::PrincipalComponents out;
  *out.mutable_place() = place;
  out.mutable_variances()->Add(found.variances.begin(), found.variances.end());
  out.mutable_variance_shares()->Add(found.variance_shares.begin(),
                                     found.variance_shares.end());
  FillTensor(found.projections, dtype, *out.mutable_projections());
  FillTensor(found.components, dtype, *out.mutable_components());
  FillTensor(found.mean, dtype, *out.mutable_mean());
  return out;
}

}  // namespace dissonance
