// What an attempt does with each message of the worker.
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/log.h"
#include "src/base/status_macros.h"
#include "src/lab/finetune/fine_tune_attempt.h"
#include "src/lab/finetune/output_names.h"

namespace dissonance {
namespace {

using internal::v1::SnapshotChunk;
using internal::v1::TrainingEnd;
using internal::v1::TrainingSnapshot;
using internal::v1::TrainingStep;
using internal::v1::TrainingValidation;

absl::Status Unexpected(absl::string_view what) {
  return absl::InternalError(
      absl::StrCat("the worker sent ", what,
                   "; start a worker of this server's version, "
                   "and if that is one, report the bug"));
}

}  // namespace

absl::Status FineTuneAttempt::Take(const Message& message) {
  switch (message.message_case()) {
    case Message::kStep:
      return TakeStep(message.step());
    case Message::kValidation:
      return TakeValidation(message.validation());
    case Message::kSnapshot:
      return TakeSnapshot(message.snapshot());
    case Message::kChunk:
      return TakeChunk(message.chunk());
    case Message::kEnd:
      return TakeEnd(message.end());
    default:
      return Unexpected("a message that this server does not know");
  }
}

absl::Status FineTuneAttempt::TakeStep(const TrainingStep& step) {
  if (step.step() != trained_step_ + 1) {
    return Unexpected(
        absl::StrCat("step ", step.step(), " after step ", trained_step_));
  }
  trained_step_ = step.step();
  if (trained_step_ <= recorded_steps_) {
    return NoteDifference(
        trained_step_,
        StepDifference(history_.steps[static_cast<size_t>(trained_step_) - 1],
                       step));
  }
  CloseStep();
  // With what came when no step was open.
  open_ = std::exchange(loose_, {});
  open_->step = step;
  if (step.step() == 1) open_->plan_digest = plan_->digest();
  history_.steps.push_back(step);
  return Flush(/*now=*/false);
}

absl::Status FineTuneAttempt::NoteDifference(int64_t step,
                                             const std::string& difference) {
  if (difference.empty() || has_difference_) return absl::OkStatus();
  has_difference_ = true;
  Log(LogLevel::kError, "a training that was resumed gives other numbers",
      {{"job", job_.job().name()}, {"step", step}, {"what", difference}});
  return job_.Log(absl::StrCat(
      "WARNING: step ", step,
      " was computed again and gave other numbers than "
      "those recorded (",
      difference, "): the result is not the one of an uninterrupted run"));
}

absl::Status FineTuneAttempt::TakeValidation(const TrainingValidation& each) {
  const auto [before, is_new] = history_.validations.emplace(each.step(), each);
  if (is_new) {
    (open_.has_value() ? *open_ : loose_).validations.push_back(each);
    return absl::OkStatus();
  }
  TrainingStep was;
  was.set_loss(before->second.loss());
  TrainingStep is;
  is.set_loss(each.loss());
  return NoteDifference(each.step(), StepDifference(was, is));
}

absl::Status FineTuneAttempt::TakeSnapshot(const TrainingSnapshot& snapshot) {
  if (snapshot.kind() == TrainingSnapshot::KIND_EVALUATION) {
    return Evaluate(snapshot.step());
  }
  const bool is_final = snapshot.kind() == TrainingSnapshot::KIND_FINAL;
  if (!is_final && snapshot.kind() != TrainingSnapshot::KIND_CHECKPOINT) {
    return Unexpected(
        absl::StrCat("a snapshot of kind ", static_cast<int>(snapshot.kind())));
  }
  if (!is_final && snapshot.step() != trained_step_) {
    return Unexpected(absl::StrCat("a checkpoint of step ", snapshot.step(),
                                   " after step ", trained_step_));
  }
  // Who goes on from a checkpoint computes no step before it again.
  CloseStep();
  RETURN_IF_ERROR(Flush(/*now=*/true));
  if (!is_final) return checkpoints_.Begin(snapshot.step());
  ASSIGN_OR_RETURN(output_, job_.OpenOutput(kWeightsFile, kSafetensorsType,
                                            OutputKind::kResult));
  return absl::OkStatus();
}

absl::Status FineTuneAttempt::TakeChunk(const SnapshotChunk& chunk) {
  if (checkpoints_.is_open()) return checkpoints_.Append(chunk);
  if (output_ == nullptr ||
      chunk.file() != SnapshotChunk::FILE_ADAPTER_WEIGHTS) {
    return Unexpected("a piece of a file that no snapshot announced");
  }
  RETURN_IF_ERROR(output_->Append(chunk.data()));
  if (!chunk.last()) return absl::OkStatus();
  has_output_ = true;
  return std::exchange(output_, nullptr)->Commit().status();
}

absl::Status FineTuneAttempt::TakeEnd(const TrainingEnd& end) {
  if (end.reason() != TrainingEnd::REASON_STOPPED && !has_output_) {
    return Unexpected("the end of training without the weights");
  }
  if (end.step() != trained_step_) {
    return Unexpected(absl::StrCat("the end after step ", end.step(),
                                   ", but steps to ", trained_step_));
  }
  if (end.reason() == TrainingEnd::REASON_FINISHED &&
      end.step() != plan_->step_count()) {
    return Unexpected(absl::StrCat("the end after step ", end.step(), " of ",
                                   plan_->step_count()));
  }
  end_ = end;
  CloseStep();
  return Flush(/*now=*/true);
}

absl::Status FineTuneAttempt::Evaluate(int64_t step) {
  if (!history_.evaluations.contains(step) && !asked_.questions.empty()) {
    absl::StatusOr<BeliefFigures> figures =
        EvaluateBelief(scorer_, asked_.questions, asked_.scoring);
    // HeedStop says the rest.
    if (absl::IsCancelled(figures.status()) && job_.cancelled()) {
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(Annotate(figures.status(),
                             absl::StrCat("evaluation after step ", step)));
    figures->step = step;
    RETURN_IF_ERROR(
        job_.Log(absl::StrCat("step ", step, ": ", BeliefText(*figures))));
    (open_.has_value() ? *open_ : loose_).evaluations.push_back(*figures);
    history_.evaluations[step] = *std::move(figures);
  }
  internal::v1::TrainRequest request;
  request.mutable_go_on();
  return session_->Send(request, {.timeout = absl::Minutes(1)});
}

void FineTuneAttempt::CloseStep() {
  if (!open_.has_value()) return;
  if (closed_.empty()) closed_since_ = parts_.clock.Monotonic();
  closed_.push_back(*std::exchange(open_, std::nullopt));
}

absl::Status FineTuneAttempt::Flush(bool now) {
  if (closed_.empty()) return absl::OkStatus();
  const absl::Duration age = parts_.clock.Monotonic() - closed_since_;
  if (!now && age < parts_.record_interval) return absl::OkStatus();
  std::vector<std::string> items;
  std::vector<v1::MetricPoint> metrics;
  for (const StepRecord& record : closed_) {
    items.push_back(EncodeStep(record));
    for (v1::MetricPoint& point : MetricsOf(record)) {
      metrics.push_back(std::move(point));
    }
  }
  RETURN_IF_ERROR(job_.Record({.first_index = recorded_steps_,
                               .items = items,
                               .total_count = plan_->step_count(),
                               .unit = "steps",
                               .metrics = metrics}));
  recorded_steps_ += static_cast<int64_t>(items.size());
  closed_.clear();
  return absl::OkStatus();
}

}  // namespace dissonance
