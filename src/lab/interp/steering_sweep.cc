#include "src/lab/interp/steering_sweep.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/eval/mcq_scorer.h"
#include "src/lab/interp/kept_networks.h"
#include "src/lab/interp/steering_figures.h"
#include "src/lab/interp/steering_files.h"
#include "src/lab/interp/steering_plan.h"
#include "src/lab/interp/steering_record.h"
#include "src/lab/interp/steering_requests.h"
#include "src/lab/jobs/job_files.h"

namespace dissonance {
namespace {

constexpr char kUnit[] = "steps";

absl::StatusOr<SteeringPlan> PlanOf(InterpClient& compute,
                                    const v1::JobSpec& spec) {
  if (!spec.has_steering_sweep()) {
    return absl::InvalidArgumentError("spec.kind: expected steering_sweep");
  }
  ASSIGN_OR_RETURN(const v1::Model model,
                   compute.GetModel(spec.steering_sweep().variant().model()));
  return MakeSteeringPlan(spec.steering_sweep(), model);
}

// One attempt at a job: what has no record yet, then the files.
class Attempt {
 public:
  Attempt(InterpClient& compute, const v1::SteeringSweepSpec& spec,
          SteeringPlan plan, JobContext& job)
      : spec_(spec),
        plan_(std::move(plan)),
        job_(job),
        call_{.cancelled = [&job] { return job.cancelled(); },
              .spend = &job.spend()},
        scorer_(compute, {spec.variant()}, plan_.scoring, call_),
        calls_{compute, spec.variant(), plan_, scorer_.format(), call_},
        networks_(job, {NetworkName(spec.variant())}, Sha256Of(spec.data()),
                  plan_.seed) {}

  absl::Status Begin();
  absl::Status ReadNorms(int questions_per_request);
  // Takes or computes the results of more settings.
  absl::Status Try(absl::Span<const SteeringSetting> settings,
                   int sequences_per_request);
  absl::Status TryAll(int sequences_per_request);
  absl::Status ReadSamples();
  absl::Status WriteOutputs();

 private:
  bool is_recorded() const { return next_ < stored_.size(); }
  // The next record; REQUIRES: is_recorded().
  const std::string& TakeRecord() { return stored_[next_++]; }
  std::string where() const { return absl::StrCat("record ", next_); }
  // Steps that may still come behind a setting of that phase, of which `rest`
  // are left.
  int64_t ComingCount(SteeringPhase phase, size_t rest) const;
  absl::Status Record(std::vector<std::string> items, int64_t coming);
  // `rest` settings of the same phase come behind these.
  absl::Status Compute(absl::Span<const SteeringSetting> settings, size_t rest,
                       int sequences_per_request);
  std::vector<McqItem> SampledItems() const;

  const v1::SteeringSweepSpec& spec_;
  const SteeringPlan plan_;
  JobContext& job_;
  const CallOptions call_;
  McqScorer scorer_;
  const SteeringCalls calls_;
  KeptNetworks networks_;
  std::vector<std::string> stored_;  // by earlier attempts
  size_t next_ = 0;                  // record
  SteeringNorms norms_;
  std::vector<SteeringResult> results_;
  int refined_rounds_ = 0;
  std::vector<SteeringSample> samples_;
};

absl::Status Attempt::Begin() {
  ASSIGN_OR_RETURN(const std::string without_template, scorer_.ReadModels());
  if (!without_template.empty()) {
    RETURN_IF_ERROR(job_.Log(absl::StrCat(
        without_template, " has no chat template: prompts are plain text")));
  }
  ASSIGN_OR_RETURN(stored_, job_.RecordedItems());
  RETURN_IF_ERROR(networks_.Resume(stored_.size()));
  if (!stored_.empty()) {
    return job_.Log(absl::StrCat("resumes after ", stored_.size(), " steps"));
  }
  const std::string left_out = LeftOutOfBelief(plan_.items);
  if (!left_out.empty()) RETURN_IF_ERROR(job_.Log(left_out));
  return scorer_.CheckLengths(plan_.items);
}

int64_t Attempt::ComingCount(SteeringPhase phase, size_t rest) const {
  const int64_t coming = static_cast<int64_t>(rest) + 1;  // the samples
  if (phase == SteeringPhase::kRandom) return coming;
  // Up to two neighbours a round.
  return coming + 2 * (plan_.refine_count - refined_rounds_) + plan_.null_count;
}

absl::Status Attempt::Record(std::vector<std::string> items, int64_t coming) {
  const auto first = static_cast<int64_t>(next_);
  const auto count = static_cast<int64_t>(items.size());
  RETURN_IF_ERROR(
      job_.RecordItems(first, items, first + count + coming, kUnit));
  next_ += items.size();
  return absl::OkStatus();
}

absl::Status Attempt::ReadNorms(int questions_per_request) {
  if (is_recorded()) {
    const std::string at = where();
    ASSIGN_OR_RETURN(norms_, DecodeNorms(TakeRecord(), at));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(MeasuredNorms measured,
                   MeasureNorms(calls_, std::max(questions_per_request, 1)));
  RETURN_IF_ERROR(networks_.Keep({measured.provenance}, next_));
  norms_ = std::move(measured.norms);
  return Record({EncodeNorms(norms_)},
                ComingCount(SteeringPhase::kGrid, plan_.grid.size()));
}

absl::Status Attempt::Compute(absl::Span<const SteeringSetting> settings,
                              size_t rest, int sequences_per_request) {
  ASSIGN_OR_RETURN(
      SteeringAnswers answers,
      AskAll(calls_, settings, norms_, std::max(sequences_per_request, 1)));
  RETURN_IF_ERROR(networks_.Keep({answers.provenance}, next_));
  std::vector<std::string> items;
  for (const SteeringResult& result : answers.results) {
    items.push_back(EncodeResult(result));
  }
  RETURN_IF_ERROR(
      Record(std::move(items), ComingCount(settings.front().phase, rest)));
  std::move(answers.results.begin(), answers.results.end(),
            std::back_inserter(results_));
  return absl::OkStatus();
}

absl::Status Attempt::Try(absl::Span<const SteeringSetting> settings,
                          int sequences_per_request) {
  size_t done = 0;
  for (; done < settings.size() && is_recorded(); ++done) {
    const std::string at = where();
    ASSIGN_OR_RETURN(
        SteeringResult result,
        DecodeResult(TakeRecord(), settings[done], plan_.items.size(), at));
    results_.push_back(std::move(result));
  }
  const size_t each = std::max<size_t>(
      static_cast<size_t>(sequences_per_request) / plan_.items.size(), 1);
  for (; done < settings.size(); done += each) {
    if (job_.cancelled()) return absl::CancelledError("cancelled");
    const absl::Span<const SteeringSetting> next = settings.subspan(done, each);
    RETURN_IF_ERROR(Compute(next, settings.size() - done - next.size(),
                            sequences_per_request));
  }
  return absl::OkStatus();
}

absl::Status Attempt::TryAll(int sequences_per_request) {
  RETURN_IF_ERROR(Try(plan_.grid, sequences_per_request));
  while (refined_rounds_ < plan_.refine_count) {
    const int best = Choose(plan_, results_).best;
    ++refined_rounds_;
    if (best < 0) continue;
    RETURN_IF_ERROR(
        Try(RefinedSettings(results_, best), sequences_per_request));
  }
  const int best = Choose(plan_, results_).best;
  if (best < 0) return absl::OkStatus();
  const SteeringSetting setting = results_[static_cast<size_t>(best)].setting;
  return Try(RandomSettings(plan_, setting), sequences_per_request);
}

std::vector<McqItem> Attempt::SampledItems() const {
  // First those that steering is to bring back.
  std::vector<McqItem> items;
  for (const bool false_ones : {true, false}) {
    for (size_t i = 0; i < plan_.items.size(); ++i) {
      const bool answers_falsely = AnswersFalsely(plan_.items[i], plan_.scoring,
                                                  results_.front().answers[i]);
      if (std::ssize(items) < plan_.sample_count &&
          answers_falsely == false_ones) {
        items.push_back(plan_.items[i]);
      }
    }
  }
  return items;
}

absl::Status Attempt::ReadSamples() {
  if (is_recorded()) {
    const std::string at = where();
    ASSIGN_OR_RETURN(samples_, DecodeSamples(TakeRecord(), at));
    return absl::OkStatus();
  }
  const int best = Choose(plan_, results_).best;
  const std::vector<McqItem> items = SampledItems();
  if (best >= 0 && !items.empty()) {
    const SteeringSetting& at = results_[static_cast<size_t>(best)].setting;
    ASSIGN_OR_RETURN(SteeringSamples continued,
                     Continue(calls_, items, at, norms_));
    RETURN_IF_ERROR(networks_.Keep({continued.provenance}, next_));
    samples_ = std::move(continued.samples);
  }
  return Record({EncodeSamples(samples_)}, /*coming=*/0);
}

absl::Status Attempt::WriteOutputs() {
  const SteeringOutcome outcome{.plan = plan_,
                                .variant = spec_.variant(),
                                .norms = norms_,
                                .results = results_,
                                .samples = samples_};
  return AddFiles(job_, SteeringFiles(outcome),
                  SteeringManifest(spec_, outcome, networks_.all().front()));
}

}  // namespace

absl::Status SteeringSweep::Validate(const v1::JobSpec& spec) {
  RETURN_IF_ERROR(
      Annotate(compute_.CheckVariant(spec.steering_sweep().variant()),
               "steering_sweep.variant"));
  return PlanOf(compute_, spec).status();
}

absl::Status SteeringSweep::Run(const v1::JobSpec& spec, JobContext& job) {
  ASSIGN_OR_RETURN(SteeringPlan plan, PlanOf(compute_, spec));
  Attempt attempt(compute_, spec.steering_sweep(), std::move(plan), job);
  RETURN_IF_ERROR(attempt.Begin());
  RETURN_IF_ERROR(attempt.ReadNorms(options_.sequences_per_request));
  RETURN_IF_ERROR(attempt.TryAll(options_.sequences_per_request));
  RETURN_IF_ERROR(attempt.ReadSamples());
  return attempt.WriteOutputs();
}

DeviceMemory SteeringSweep::Memory(const v1::JobSpec& spec) {
  const std::string& model = spec.steering_sweep().variant().model();
  return {{model, compute_.WeightBytes(model)}};
}

}  // namespace dissonance
