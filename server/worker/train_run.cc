#include "server/worker/train_run.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/worker/training_messages.h"
#include "src/base/status_macros.h"
#include "src/compute/lora/lora_parameters.h"

namespace dissonance {
namespace {

using internal::v1::SnapshotChunk;
using internal::v1::TrainingEnd;
using internal::v1::TrainingSnapshot;
using internal::v1::TrainResponse;

TrainingSnapshot SnapshotOf(int64_t step, TrainingSnapshot::Kind kind) {
  TrainingSnapshot snapshot;
  snapshot.set_step(step);
  snapshot.set_kind(kind);
  return snapshot;
}

}  // namespace

TrainRun::TrainRun(PreparedTraining training, const TrainContext& context,
                   TrainSink& sink)
    : training_(std::move(training)), context_(context), sink_(sink) {
  peak_.emplace(context_.peaks);
  ++context_.counts.training_count;
  training_.trainer->SetProgress(
      [&counts = context_.counts] { ++counts.block_count; });
  // That comes first, as it would have.
  if (training_.trainer->needs_validation()) return;
  const int64_t step = training_.trainer->step();
  const int64_t every = training_.plan.evaluation_step_count();
  // Before the first step; that of the step of a checkpoint may not have come
  // through.
  if (every > 0 && step % every == 0 && step < training_.plan.step_count()) {
    due_.push_back(Due::kEvaluation);
  }
}

void TrainRun::Fail(const absl::Status& status) {
  {
    const absl::MutexLock lock(&mutex_);
    if (failure_.ok()) failure_ = status;
  }
  has_failed_ = true;
  context_.engine.Wake();
}

absl::Status TrainRun::GoOn() {
  // It may cross a stop on its way.
  if (is_stopped_) return absl::OkStatus();
  Answer awaited = Answer::kAwaited;
  if (!answer_.compare_exchange_strong(awaited, Answer::kCame)) {
    return absl::InvalidArgumentError(
        "Train: expected stop or nothing, found go_on; no snapshot awaits it");
  }
  context_.engine.Wake();
  return absl::OkStatus();
}

void TrainRun::Stop() {
  is_stopped_ = true;
  context_.engine.Wake();
}

void TrainRun::CallerClosed() {
  is_closed_ = true;
  context_.engine.Wake();
}

bool TrainRun::ready() const {
  if (sends_files_ || !sink_.HasRoom()) return false;
  return answer_ != Answer::kAwaited || is_stopped_ || is_closed_;
}

bool TrainRun::RunPiece() {
  if (is_stopped_ && !is_ending_) {
    EndEvaluation();
    reason_ = TrainingEnd::REASON_STOPPED;
    is_ending_ = true;
    due_ = {Due::kCheckpoint, Due::kEnd};
  }
  if (answer_ == Answer::kAwaited) {
    Fail(absl::InvalidArgumentError(
        "Train: expected go_on for an evaluation, found the end of the "
        "caller's messages"));
    return false;
  }
  EndEvaluation();
  absl::Status done;
  bool has_more = true;
  if (due_.empty()) {
    done = Train();
  } else {
    const Due due = due_.front();
    due_.pop_front();
    has_more = due != Due::kEnd;
    done = Do(due);
  }
  if (done.ok()) return has_more;
  Fail(done);
  return false;
}

void TrainRun::Finish(const absl::Status& status) {
  EndEvaluation();
  absl::Status end = status;
  if (absl::IsCancelled(status)) {
    end = absl::UnavailableError(
        "the worker is stopping; start the training again from its last "
        "checkpoint");
  }
  {
    const absl::MutexLock lock(&mutex_);
    if (!failure_.ok()) end = failure_;
  }
  // Whoever is told may start the next at once.
  training_ = {};
  peak_.reset();
  --context_.counts.training_count;
  sink_.Conclude(end);
}

absl::Status TrainRun::Train() {
  Trainer& trainer = *training_.trainer;
  const bool validates = trainer.needs_validation();
  const auto begin = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const TrainingPiece piece, trainer.RunPiece());
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - begin;
  if (!validates) step_seconds_ += took.count();
  ReportPiece(piece);
  if (piece.finished) {
    reason_ = trainer.stopped_early() ? TrainingEnd::REASON_EARLY_STOP
                                      : TrainingEnd::REASON_FINISHED;
    if (training_.begin.evaluates()) due_.push_back(Due::kEvaluation);
    due_.push_back(Due::kFinal);
    due_.push_back(Due::kEnd);
  } else if (validates
                 ? piece.validation.has_value()
                 : piece.step.has_value() && !trainer.needs_validation()) {
    PlanStep();
  }
  return absl::OkStatus();
}

void TrainRun::ReportPiece(const TrainingPiece& piece) {
  if (piece.step.has_value()) {
    ++context_.counts.step_count;
    context_.counts.token_count += piece.step->token_count;
    TrainResponse message;
    *message.mutable_step() = StepMessage(*piece.step);
    message.mutable_step()->set_seconds(step_seconds_);
    message.mutable_step()->set_peak_bytes(peak_->bytes());
    step_seconds_ = 0.0;
    sink_.Report(std::move(message));
  }
  if (piece.validation.has_value()) {
    TrainResponse message;
    *message.mutable_validation() = ValidationMessage(*piece.validation);
    sink_.Report(std::move(message));
  }
}

void TrainRun::PlanStep() {
  const int64_t step = training_.trainer->step();
  if (step == training_.plan.step_count()) return;  // it ends with both
  const int64_t evaluations = training_.plan.evaluation_step_count();
  if (evaluations > 0 && step % evaluations == 0) {
    due_.push_back(Due::kEvaluation);
  }
  const int64_t checkpoints = training_.begin.checkpoint_step_count();
  if (checkpoints > 0 && step % checkpoints == 0) {
    due_.push_back(Due::kCheckpoint);
  }
}

absl::Status TrainRun::Do(Due due) {
  switch (due) {
    case Due::kEvaluation:
      return Evaluate();
    case Due::kCheckpoint:
      SendCheckpoint();
      break;
    case Due::kFinal:
      SendFinal();
      break;
    case Due::kEnd:
      SendEnd();
      break;
  }
  return absl::OkStatus();
}

absl::Status TrainRun::Evaluate() {
  const Trainer& trainer = *training_.trainer;
  ASSIGN_OR_RETURN(std::shared_ptr<const LoraAdapter> adapter,
                   trainer.MakeAdapter());
  RETURN_IF_ERROR(context_.registry.KeepAdapter(
      training_.begin.evaluation_adapter(), std::move(adapter),
      *training_.model.model));
  answer_ = Answer::kAwaited;
  TrainResponse message;
  *message.mutable_snapshot() =
      SnapshotOf(trainer.best_step(), TrainingSnapshot::KIND_EVALUATION);
  sink_.Report(std::move(message));
  return absl::OkStatus();
}

void TrainRun::EndEvaluation() {
  if (answer_.exchange(Answer::kNoneAwaited) == Answer::kNoneAwaited) return;
  // It has gone with its model if that was unloaded.
  context_.registry.UnloadAdapter(training_.begin.evaluation_adapter())
      .IgnoreError();
}

void TrainRun::SendCheckpoint() {
  const Trainer& trainer = *training_.trainer;
  TrainingState state = trainer.state();
  std::vector<SnapshotFile> files;
  files.push_back({.file = SnapshotChunk::FILE_ADAPTER_WEIGHTS,
                   .tensors = trainer.PeftTensors(),
                   .metadata = PeftMetadata()});
  files.push_back({.file = SnapshotChunk::FILE_STATE,
                   .tensors = std::move(state.tensors),
                   .metadata = std::move(state.metadata)});
  SendFiles(TrainingSnapshot::KIND_CHECKPOINT, std::move(files));
}

void TrainRun::SendFinal() {
  is_ending_ = true;
  std::vector<SnapshotFile> files;
  files.push_back({.file = SnapshotChunk::FILE_ADAPTER_WEIGHTS,
                   .tensors = training_.trainer->PeftTensors(),
                   .metadata = PeftMetadata()});
  SendFiles(TrainingSnapshot::KIND_FINAL, std::move(files));
}

void TrainRun::SendFiles(TrainingSnapshot::Kind kind,
                         std::vector<SnapshotFile> files) {
  sends_files_ = true;
  sink_.ReportWithFiles(SnapshotOf(training_.trainer->step(), kind),
                        std::move(files), [this] {
                          sends_files_ = false;
                          context_.engine.Wake();
                        });
}

void TrainRun::SendEnd() {
  const Trainer& trainer = *training_.trainer;
  TrainResponse message;
  TrainingEnd& end = *message.mutable_end();
  end.set_reason(reason_);
  end.set_step(trainer.step());
  end.set_best_step(trainer.best_step());
  sink_.Report(std::move(message));
}

}  // namespace dissonance
