#include "src/lab/finetune/fine_tune_attempt.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "src/base/log.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/network_difference.h"
#include "src/lab/finetune/output_names.h"

namespace dissonance {
namespace {

using internal::v1::DocumentBatch;
using internal::v1::TrainBegin;
using internal::v1::TrainingEnd;
using internal::v1::TrainingPlan;
using internal::v1::TrainRequest;

// Between looks at whether the job is to stop.
constexpr absl::Duration kPoll = absl::Milliseconds(50);
constexpr size_t kBatchBytes = 1 << 20;

// Where the weights in training can be asked questions; no user's adapter can
// have such a name.
std::string EvaluationAdapter(const v1::FineTuneSpec& spec,
                              const v1::Job& job) {
  return absl::StrCat(spec.model(), "/adapters/~",
                      absl::StripPrefix(job.name(), "jobs/"));
}

v1::Variant InTraining(const v1::FineTuneSpec& spec, const v1::Job& job) {
  v1::Variant variant;
  variant.set_model(spec.model());
  variant.set_adapter(EvaluationAdapter(spec, job));
  return variant;
}

// The worker knows a document's line, but not the file that it came from.
absl::Status NameFile(const absl::Status& status,
                      const v1::FineTuneSpec& spec) {
  constexpr absl::string_view kOfDocument = "document of line ";
  if (!absl::StartsWith(status.message(), kOfDocument)) return status;
  return Annotate(status, DataFileOf(spec));
}

// Whether it may be the checkpoint's fault that training did not begin.
bool MayBlameCheckpoint(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsFailedPrecondition(status) ||
         absl::IsInvalidArgument(status) || absl::IsNotFound(status);
}

std::string Mebibytes(int64_t bytes) {
  return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

FineTuneAttempt::FineTuneAttempt(const FineTuneParts& parts,
                                 const v1::FineTuneSpec& spec,
                                 FineTunePlan asked, JobContext& job)
    : parts_(parts),
      spec_(spec),
      asked_(std::move(asked)),
      job_(job),
      checkpoints_(job, parts.registrar, spec, asked_.checkpoints.keep_count()),
      scorer_(parts.compute, {InTraining(spec, job.job())}, asked_.scoring,
              call()) {}

CallOptions FineTuneAttempt::call() const {
  return {.cancelled = [this] { return job_.cancelled(); },
          .spend = &job_.spend()};
}

absl::Status FineTuneAttempt::Run() {
  RETURN_IF_ERROR(Resume());
  const absl::Status status = Train();
  session_.reset();
  const absl::Status forgotten = checkpoints_.UnregisterAll();
  if (!forgotten.ok()) {
    Log(LogLevel::kError, "checkpoints of a training stay registered",
        {{"job", job_.job().name()}, {"why", forgotten.message()}});
  }
  return status;
}

absl::Status FineTuneAttempt::Resume() {
  ASSIGN_OR_RETURN(const std::vector<std::string> items, job_.RecordedItems());
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string where = absl::StrCat("record ", i);
    ASSIGN_OR_RETURN(StepRecord record, DecodeStep(items[i], where));
    if (record.step.step() != static_cast<int64_t>(i) + 1) {
      return absl::DataLossError(absl::StrCat(
          where, ": of step ", record.step.step(), ", expected ", i + 1));
    }
    for (const auto& validation : record.validations) {
      history_.validations[validation.step()] = validation;
    }
    for (BeliefFigures& figures : record.evaluations) {
      history_.evaluations[figures.step] = std::move(figures);
    }
    if (i == 0) plan_digest_ = record.plan_digest;
    history_.steps.push_back(std::move(record.step));
  }
  recorded_steps_ = static_cast<int64_t>(items.size());
  RETURN_IF_ERROR(checkpoints_.Recover(recorded_steps_));
  if (asked_.questions.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(scorer_.ReadModels().status());
  // A question that is too long is found before the first step.
  v1::Variant base;
  base.set_model(spec_.model());
  McqScorer of_base(parts_.compute, {base}, asked_.scoring, call());
  RETURN_IF_ERROR(of_base.ReadModels().status());
  return of_base.CheckLengths(asked_.questions);
}

absl::Status FineTuneAttempt::Train() {
  std::vector<std::optional<int64_t>> candidates(checkpoints_.steps().rbegin(),
                                                 checkpoints_.steps().rend());
  candidates.push_back(std::nullopt);
  std::vector<int64_t> refused;
  for (const std::optional<int64_t>& candidate : candidates) {
    const absl::Status begun = NameFile(Begin(candidate), spec_);
    if (begun.ok()) break;
    session_.reset();
    if (!candidate.has_value() || !MayBlameCheckpoint(begun)) return begun;
    refused.push_back(*candidate);
    RETURN_IF_ERROR(job_.Log(
        absl::StrCat("the checkpoint of step ", *candidate, " is of no use (",
                     begun.message(), "): going back to the one before it")));
  }
  RETURN_IF_ERROR(AcceptPlan());
  for (const int64_t step : refused) {
    RETURN_IF_ERROR(checkpoints_.Remove(step));
  }
  if (spec_.dry_run()) return FinishDryRun();
  const absl::Status followed = Follow();
  if (!followed.ok()) {
    // What is known is worth keeping; why it ended says more than a failure.
    (void)Flush(/*now=*/true);
    return followed;
  }
  if (end_->reason() != TrainingEnd::REASON_STOPPED) return Finish();
  return stop_sent_ ? absl::CancelledError(
                          absl::StrCat("stopped after step ", end_->step()))
                    : absl::UnavailableError(
                          "the worker stopped training of its own accord");
}

absl::Status FineTuneAttempt::Begin(std::optional<int64_t> checkpoint) {
  TrainBegin begin;
  begin.set_model(spec_.model());
  begin.set_adapter(spec_.adapter());
  *begin.mutable_lora() = asked_.lora;
  *begin.mutable_training() = asked_.training;
  begin.set_checkpoint_step_count(asked_.checkpoints.step_count());
  begin.set_evaluation_step_count(asked_.evaluation_step_count);
  begin.set_evaluates(!asked_.questions.empty());
  begin.set_evaluation_adapter(EvaluationAdapter(spec_, job_.job()));
  begin.set_plan_only(spec_.dry_run());
  *begin.mutable_template_time() = job_.job().create_time();
  CallOptions options = call();
  options.spend = &job_.spend();
  ASSIGN_OR_RETURN(session_, parts_.training.Train(begin, options));
  TrainRequest request;
  DocumentBatch* batch = request.mutable_documents();
  size_t bytes = 0;
  for (const auto& document : asked_.documents.documents) {
    *batch->add_documents() = document;
    bytes += document.ByteSizeLong();
    if (bytes < kBatchBytes) continue;
    RETURN_IF_ERROR(session_->Send(request, call()));
    batch->Clear();
    bytes = 0;
  }
  if (bytes > 0) RETURN_IF_ERROR(session_->Send(request, call()));
  if (checkpoint.has_value()) RETURN_IF_ERROR(SendCheckpoint(*checkpoint));
  request.mutable_start();
  RETURN_IF_ERROR(session_->Send(request, call()));
  return AwaitPlan(checkpoint);
}

absl::Status FineTuneAttempt::SendCheckpoint(int64_t checkpoint) {
  return checkpoints_.ReadState(checkpoint,
                                [this](std::string piece) -> absl::Status {
                                  TrainRequest request;
                                  request.set_checkpoint(std::move(piece));
                                  return session_->Send(request, call());
                                });
}

absl::Status FineTuneAttempt::AwaitPlan(std::optional<int64_t> checkpoint) {
  while (true) {
    if (job_.cancelled()) return absl::CancelledError("cancelled");
    ASSIGN_OR_RETURN(const ReceivedMessage received, session_->Receive(kPoll));
    if (received.ended ||
        (received.message.has_value() && !received.message->has_plan())) {
      return absl::InternalError(
          "the worker began training without a plan; start a worker of this "
          "server's version");
    }
    if (!received.message.has_value()) continue;
    plan_ = received.message->plan();
    trained_step_ = plan_->start_step();
    if (trained_step_ == checkpoint.value_or(0)) return absl::OkStatus();
    return absl::InternalError(absl::StrCat(
        "training went on after step ", trained_step_,
        ", but was given the checkpoint of step ", checkpoint.value_or(0)));
  }
}

v1::Provenance FineTuneAttempt::PlanProvenance() const {
  v1::Provenance provenance = plan_->provenance();
  provenance.set_input_digest(Sha256Of(spec_.data()));
  provenance.set_seed(asked_.training.seed());
  return provenance;
}

absl::Status FineTuneAttempt::CheckSameTraining() {
  if (recorded_steps_ == 0 || job_.job().provenance().empty()) {
    return absl::OkStatus();
  }
  v1::Provenance before = job_.job().provenance(0);
  const v1::Provenance now = PlanProvenance();
  // Of what came out, if it had come so far.
  before.set_adapter_digest(now.adapter_digest());
  const std::string changed = NetworkDifference(before, now);
  if (plan_digest_ != plan_->digest()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "what is trained changed after ", recorded_steps_, " steps (",
        changed.empty() ? "documents or initial weights" : changed,
        "); create a new job rather than mix two trainings in one result"));
  }
  if (changed.empty()) return absl::OkStatus();
  return job_.Log(absl::StrCat(
      "WARNING: training goes on under other conditions (", changed,
      "), so its bits may be others than without the interruption"));
}

absl::Status FineTuneAttempt::LogPlan() {
  const TrainingPlan& plan = *plan_;
  RETURN_IF_ERROR(job_.Log(absl::StrCat(
      plan.documents().document_count(), " documents of ",
      plan.documents().token_count(), " tokens (", plan.documents().cut_count(),
      " cut to ", asked_.training.max_length_tokens(), "), ",
      plan.validation().document_count(), " held out; ", plan.step_count(),
      " steps; ", plan.parameter_count(), " numbers trained in ",
      plan.modules_size(), " modules")));
  return job_.Log(absl::StrCat("memory: ", Mebibytes(plan.state_bytes()),
                               " for weights, gradients and "
                               "moments, ",
                               Mebibytes(plan.activation_bytes()),
                               " at most for activations; ",
                               Mebibytes(plan.available_bytes()), " are free"));
}

absl::Status FineTuneAttempt::AcceptPlan() {
  if (plan_->step_count() > kMaxTrainingSteps) {
    return absl::InvalidArgumentError(
        absl::StrCat(DataFileOf(spec_), ": training on it would take ",
                     plan_->step_count(), " steps; at most ", kMaxTrainingSteps,
                     ", so give a max_step_count, fewer epochs or larger steps "
                     "(micro_batch_size, accumulation_count)"));
  }
  RETURN_IF_ERROR(CheckSameTraining());
  RETURN_IF_ERROR(job_.SetProvenance({PlanProvenance()}));
  RETURN_IF_ERROR(LogPlan());
  if (spec_.dry_run()) return absl::OkStatus();
  if (recorded_steps_ > 0) {
    RETURN_IF_ERROR(
        job_.Log(absl::StrCat("resumes after step ", plan_->start_step(), "; ",
                              recorded_steps_, " steps are recorded")));
  }
  RETURN_IF_ERROR(
      job_.RecordItems(recorded_steps_, {}, plan_->step_count(), "steps"));
  RETURN_IF_ERROR(job_.AddOutput(kConfigFile, "application/json",
                                 plan_->adapter_config(), OutputKind::kResult));
  return checkpoints_.RegisterAll(
      absl::StrCat("artifacts/", Sha256Of(plan_->adapter_config())));
}

absl::Status FineTuneAttempt::Follow() {
  while (!end_.has_value()) {
    RETURN_IF_ERROR(HeedStop());
    ASSIGN_OR_RETURN(const ReceivedMessage received, session_->Receive(kPoll));
    if (received.message.has_value()) {
      RETURN_IF_ERROR(Take(*received.message));
    } else if (received.ended) {
      return absl::UnavailableError("training ended before its end was told");
    } else {
      RETURN_IF_ERROR(Flush(/*now=*/false));
    }
  }
  return absl::OkStatus();
}

absl::Status FineTuneAttempt::HeedStop() {
  if (!job_.cancelled()) return absl::OkStatus();
  // Ending the session stops the worker.
  if (job_.is_given_up()) return absl::CancelledError("cancelled");
  if (stop_sent_) return absl::OkStatus();
  stop_sent_ = true;
  TrainRequest request;
  request.mutable_stop();
  return session_->Send(request, {.timeout = absl::Minutes(1)});
}

}  // namespace dissonance
