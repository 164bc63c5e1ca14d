#include "src/lab/interp/probes_plan.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/interp/network_spec.h"

namespace dissonance {
namespace {

constexpr int kMaxComponents = 5;
constexpr int kMaxStrengths = 100;
constexpr double kLargestC = 1e6;
constexpr int kMostResamples = 10'000;

const SpecFields& Fields() {
  static const SpecFields& fields = *new SpecFields("train_probes");
  return fields;
}

// Whether a capture gives one row for each input.
bool IsOneRow(const v1::CaptureSpec& capture) {
  const v1::Positions& positions = capture.positions();
  return capture.reduction() == v1::REDUCTION_MEAN ||
         positions.set() == v1::POSITION_SET_LAST_PROMPT ||
         positions.indices().indices_size() == 1 ||
         (positions.has_range() &&
          positions.range().end() == positions.range().begin() + 1) ||
         positions.positions_case() == v1::Positions::POSITIONS_NOT_SET;
}

// INVALID_ARGUMENT, saying what was expected, unless `is_fine`.
absl::Status CheckRange(bool is_fine, absl::string_view field,
                        absl::string_view expected, double found) {
  if (is_fine) return absl::OkStatus();
  return Fields().Bad(absl::StrCat("options.", field),
                      absl::StrCat("expected ", expected, ", found ", found));
}

absl::Status CheckStrengths(const v1::ProbeOptions& options) {
  const auto& all = options.c_values();
  if (all.size() > kMaxStrengths) {
    return Fields().Bad("options.c_values",
                        absl::StrCat("expected at most ", kMaxStrengths,
                                     ", found ", all.size()));
  }
  for (int i = 0; i < all.size(); ++i) {
    const std::string field = absl::StrCat("c_values[", i, "]");
    RETURN_IF_ERROR(CheckRange(all[i] > 0 && all[i] <= kLargestC, field,
                               "more than 0, at most 1e6", all[i]));
    if (absl::c_count(all, all[i]) == 1) continue;
    return Fields().Bad(absl::StrCat("options.", field),
                        absl::StrCat(all[i], " is given twice"));
  }
  return absl::OkStatus();
}

// What the worker would refuse once the job runs.
absl::Status CheckOptions(const v1::ProbeOptions& options) {
  const int folds = options.fold_count();
  RETURN_IF_ERROR(CheckRange(folds == 0 || (folds >= 2 && folds <= 100),
                             "fold_count", "2 to 100", folds));
  RETURN_IF_ERROR(CheckStrengths(options));
  const int shuffles = options.permutation_count();
  RETURN_IF_ERROR(CheckRange(shuffles >= 0 && shuffles <= kMostResamples,
                             "permutation_count", "0 to 10000", shuffles));
  const int resamples = options.bootstrap_count();
  RETURN_IF_ERROR(CheckRange(resamples >= 0 && resamples <= kMostResamples,
                             "bootstrap_count", "0 to 10000", resamples));
  const double tested = options.test_fraction();
  RETURN_IF_ERROR(CheckRange(tested >= 0 && tested <= 0.5, "test_fraction",
                             "0 to 0.5", tested));
  if (options.method() != v1::PROBE_METHOD_LDA || !options.has_shrinkage()) {
    return absl::OkStatus();
  }
  const double shrinkage = options.shrinkage();
  return CheckRange(shrinkage > 0 && shrinkage < 1, "shrinkage",
                    "more than 0 and less than 1", shrinkage);
}

// Its rows are of questions asked in one way, so answers are asked likewise.
absl::Status TakeScoring(const v1::TrainProbesSpec& spec, const v1::Job& source,
                         ProbesPlan& plan) {
  ASSIGN_OR_RETURN(
      const v1::McqScoring own,
      ResolveMcqScoring(source.spec().extract_activations().scoring()));
  if (spec.scoring() == v1::MCQ_SCORING_UNSPECIFIED) plan.scoring = own;
  if (plan.scoring == own || plan.set.kind != PromptKind::kQuestions) {
    return absl::OkStatus();
  }
  return Fields().Bad(
      "scoring",
      absl::StrCat("the questions of ", source.name(), " were asked as ",
                   McqScoringName(own), ", not as ",
                   McqScoringName(plan.scoring),
                   "; leave scoring out, or extract activations anew"));
}

// Prompts, variants and scoring from the job whose activations are taken.
absl::Status TakeSource(const v1::TrainProbesSpec& spec, FinishedJobs& jobs,
                        ProbesPlan& plan) {
  constexpr absl::string_view kField = "activations_job";
  if (!spec.variants().empty() || !spec.data().empty() ||
      !spec.sites().empty() || !spec.blocks().empty() || spec.has_positions()) {
    return Fields().Bad(kField,
                        "variants, data, sites, blocks and positions are that "
                        "job's; leave them out");
  }
  ASSIGN_OR_RETURN(plan.source, jobs.Find(spec.activations_job()));
  const v1::Job& job = *plan.source;
  if (!job.spec().has_extract_activations()) {
    return Fields().Bad(kField, absl::StrCat(job.name(),
                                             " is no "
                                             "extract_activations job"));
  }
  if (job.state() != v1::JOB_STATE_SUCCEEDED) {
    return Fields().Bad(
        kField, absl::StrCat(job.name(), " has not succeeded; wait for it"));
  }
  const v1::ExtractActivationsSpec& extract = job.spec().extract_activations();
  if (!IsOneRow(extract.capture())) {
    return Fields().Bad(
        kField,
        absl::StrCat(job.name(),
                     " has several rows of an input; a probe needs one: "
                     "capture a mean, or one position"));
  }
  ASSIGN_OR_RETURN(plan.set, Fields().ReadPrompts(PromptDataOf(extract)));
  plan.variants.assign(extract.variants().begin(), extract.variants().end());
  return TakeScoring(spec, job, plan);
}

}  // namespace

bool ProbesPlan::asks_questions() const {
  return absl::c_any_of(
      questions, [](const ProbeQuestion& each) { return each.is_answered; });
}

absl::StatusOr<ProbesPlan> MakeProbesPlan(const v1::JobSpec& job_spec,
                                          FinishedJobs& jobs) {
  const v1::TrainProbesSpec& spec = job_spec.train_probes();
  ProbesPlan plan;
  ASSIGN_OR_RETURN(plan.scoring, ResolveMcqScoring(spec.scoring()));
  const int components = spec.component_count();
  if (components != 0 && (components < 2 || components > kMaxComponents)) {
    return Fields().Bad(
        "component_count",
        absl::StrCat("expected 2 to ", kMaxComponents, ", found ", components));
  }
  plan.component_count = components == 0 ? 2 : components;
  RETURN_IF_ERROR(CheckOptions(spec.options()));
  if (!spec.activations_job().empty()) {
    RETURN_IF_ERROR(TakeSource(spec, jobs, plan));
  } else {
    RETURN_IF_ERROR(Fields().CheckVariants(spec.variants()));
    ASSIGN_OR_RETURN(plan.set, Fields().ReadPrompts(PromptDataOf(spec)));
    plan.variants.assign(spec.variants().begin(), spec.variants().end());
  }
  if (spec.options().transfer() && plan.variants.size() < 2) {
    return Fields().Bad("options.transfer",
                        "tests the probes of one network on another's rows, "
                        "and there is one network; add an adapter, or leave "
                        "it out");
  }
  const int given = spec.options().fold_of_input_size();
  if (given > 0 && static_cast<size_t>(given) != plan.set.inputs.size()) {
    return Fields().Bad(
        "options.fold_of_input",
        absl::StrCat("expected one for each of ", plan.set.inputs.size(),
                     " rows, found ", given));
  }
  ASSIGN_OR_RETURN(plan.questions, ProbeQuestionsOf(spec, plan.set));
  return plan;
}

absl::StatusOr<std::vector<v1::SiteRef>> ProbePlaces(
    const v1::TrainProbesSpec& spec, const ProbesPlan& plan,
    ComputeClient& compute) {
  ASSIGN_OR_RETURN(const v1::Model model,
                   compute.GetModel(plan.variants.front().model()));
  if (!plan.source.has_value()) {
    return Fields().Places(spec.sites(), spec.blocks(), model.block_count());
  }
  const v1::CaptureSpec& capture =
      plan.source->spec().extract_activations().capture();
  return Fields().Places(capture.sites(), capture.blocks(),
                         model.block_count());
}

std::vector<ProbeCall> ProbeCalls(
    const std::vector<std::vector<const v1::ProbeLabels*>>& labels) {
  const auto targets = static_cast<int>(labels.size());
  const auto variants = static_cast<int>(labels.front().size());
  const auto fits = [&labels](int target, int variant) {
    return labels[static_cast<size_t>(target)][static_cast<size_t>(variant)] !=
           nullptr;
  };
  ProbeCall all;
  std::vector<ProbeCall> own(static_cast<size_t>(variants));
  for (int v = 0; v < variants; ++v) {
    all.variants.push_back(v);
    own[static_cast<size_t>(v)].variants.push_back(v);
  }
  for (int t = 0; t < targets; ++t) {
    const bool fits_all = absl::c_all_of(
        all.variants, [&](int variant) { return fits(t, variant); });
    if (fits_all) all.targets.push_back(t);
    for (int v = 0; v < variants && !fits_all; ++v) {
      if (fits(t, v)) own[static_cast<size_t>(v)].targets.push_back(t);
    }
  }
  std::vector<ProbeCall> calls;
  // The map shows all variants.
  all.has_components = true;
  if (!all.targets.empty()) calls.push_back(std::move(all));
  for (ProbeCall& call : own) {
    if (!call.targets.empty()) calls.push_back(std::move(call));
  }
  return calls;
}

}  // namespace dissonance
