#include "tests/lab/finetune/fake_training.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using internal::v1::SnapshotChunk;
using internal::v1::TrainingEnd;
using internal::v1::TrainingSnapshot;
using internal::v1::TrainRequest;
using internal::v1::TrainResponse;

std::string State(int64_t step, double sum) {
  return absl::StrFormat("%d %.17g", step, sum);
}

}  // namespace

class FakeTraining::Session : public TrainingSession {
 public:
  explicit Session(FakeTraining& fake) : fake_(fake) {}

  absl::Status Send(const TrainRequest& request,
                    const CallOptions& options) override {
    if (options.cancelled && options.cancelled()) {
      return absl::CancelledError("cancelled");
    }
    if (request.has_begin()) {
      begin_ = request.begin();
      fake_.begins.push_back(begin_);
      fake_.documents.clear();
    }
    for (const auto& document : request.documents().documents()) {
      fake_.documents.push_back(document);
    }
    state_ += request.checkpoint();
    if (request.has_go_on()) {
      ++fake_.go_on_count;
      waits_ = false;
    }
    if (request.has_stop()) {
      ++fake_.stop_count;
      stops_ = true;
      waits_ = false;
    }
    if (request.has_start()) return Start();
    return absl::OkStatus();
  }

  absl::StatusOr<ReceivedMessage> Receive(absl::Duration) override {
    if (ended_) return ReceivedMessage{.ended = true};
    if (queue_.empty() && !waits_) Produce();
    if (queue_.empty()) return ReceivedMessage();
    if (fake_.messages_left-- <= 0) return fake_.loss;
    ++fake_.received_count;
    ReceivedMessage received;
    received.message = std::move(queue_.front());
    queue_.pop_front();
    ended_ = received.message->has_end();
    if (fake_.on_message) fake_.on_message(*received.message);
    return received;
  }

 private:
  absl::Status Start() {
    if (!state_.empty()) {
      const std::vector<std::string> parts = absl::StrSplit(state_, ' ');
      if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &step_) ||
          !absl::SimpleAtod(parts[1], &sum_)) {
        return absl::InvalidArgumentError("the state is damaged");
      }
      const auto refusal = fake_.refusals.find(step_);
      if (refusal != fake_.refusals.end()) return refusal->second;
    }
    fake_.start_steps.push_back(step_);
    internal::v1::TrainingPlan& plan = *Add().mutable_plan();
    plan.mutable_documents()->set_document_count(
        static_cast<int64_t>(fake_.documents.size()));
    plan.mutable_documents()->set_token_count(100);
    plan.set_step_count(fake_.step_count);
    plan.set_steps_per_epoch(fake_.step_count);
    plan.set_parameter_count(64);
    plan.add_modules("model.layers.0.self_attn.q_proj");
    plan.set_start_step(step_);
    plan.set_digest(fake_.digest);
    plan.mutable_provenance()->set_model_digest("sha256:model");
    plan.set_adapter_config("{\"r\": 8}");
    if (begin_.plan_only()) {
      ended_at_plan_ = true;
    } else if (step_ == 0 || (IsDue() && !IsLast())) {
      // That of a checkpoint's step may not have come through.
      Evaluate(step_);
    }
    return absl::OkStatus();
  }

  TrainResponse& Add() { return queue_.emplace_back(); }

  void Snapshot(TrainingSnapshot::Kind kind, int64_t step) {
    TrainingSnapshot& snapshot = *Add().mutable_snapshot();
    snapshot.set_step(step);
    snapshot.set_kind(kind);
  }

  void Chunk(SnapshotChunk::File file, const std::string& data) {
    const size_t half = data.size() / 2;
    for (const bool last : {false, true}) {
      SnapshotChunk& chunk = *Add().mutable_chunk();
      chunk.set_file(file);
      chunk.set_data(last ? data.substr(half) : data.substr(0, half));
      chunk.set_last(last);
    }
  }

  void Evaluate(int64_t step) {
    if (!begin_.evaluates()) return;
    Snapshot(TrainingSnapshot::KIND_EVALUATION, step);
    waits_ = true;
  }

  void Checkpoint() {
    Snapshot(TrainingSnapshot::KIND_CHECKPOINT, step_);
    Chunk(SnapshotChunk::FILE_ADAPTER_WEIGHTS, Weights());
    Chunk(SnapshotChunk::FILE_STATE, State(step_, sum_));
  }

  std::string Weights() const {
    return absl::StrCat("weights ", State(step_, sum_));
  }

  void End(TrainingEnd::Reason reason) {
    TrainingEnd& end = *Add().mutable_end();
    end.set_reason(reason);
    end.set_step(step_);
    end.set_best_step(BestStep());
  }

  int64_t BestStep() const {
    return fake_.best_step > 0 ? fake_.best_step : step_;
  }

  bool IsLast() const {
    return step_ == fake_.step_count ||
           (fake_.early_stop_step > 0 && step_ == fake_.early_stop_step);
  }

  bool IsDue() const {
    return begin_.evaluation_step_count() > 0 &&
           step_ % begin_.evaluation_step_count() == 0;
  }

  // What a worker does next: the rest of a step that was evaluated, the end, or
  // a step.
  void Produce() {
    if (ended_at_plan_) {
      ended_ = true;
      return;
    }
    if (stops_) {
      Checkpoint();
      return End(TrainingEnd::REASON_STOPPED);
    }
    if (std::exchange(owes_checkpoint_, false)) {
      Checkpoint();
      if (!IsLast()) return;
    }
    if (IsLast()) {
      if (evaluated_step_ != step_) {
        evaluated_step_ = step_;
        Evaluate(BestStep());
        if (waits_) return;
      }
      Snapshot(TrainingSnapshot::KIND_FINAL, step_);
      Chunk(SnapshotChunk::FILE_ADAPTER_WEIGHTS, Weights());
      return End(step_ == fake_.step_count ? TrainingEnd::REASON_FINISHED
                                           : TrainingEnd::REASON_EARLY_STOP);
    }
    Step();
  }

  void Step() {
    ++step_;
    internal::v1::TrainingStep& step = *Add().mutable_step();
    step.set_step(step_);
    step.set_epoch(static_cast<double>(step_) / 7);
    step.set_loss(3.0 / (static_cast<double>(step_) + sum_ / 100) +
                  fake_.loss_shift);
    step.set_learning_rate(1e-4);
    step.set_grad_norm(0.5);
    step.set_token_count(100);
    step.set_target_count(99);
    step.set_seconds(0.5);
    step.set_peak_bytes(1000 + step_);
    sum_ += step.loss();
    if (fake_.validation_step_count > 0 &&
        step_ % fake_.validation_step_count == 0) {
      internal::v1::TrainingValidation& validation =
          *Add().mutable_validation();
      validation.set_step(step_);
      validation.set_loss(2.0 / static_cast<double>(step_));
      validation.set_best(true);
    }
    owes_checkpoint_ = step_ % begin_.checkpoint_step_count() == 0;
    if (!IsDue() || IsLast()) return;
    evaluated_step_ = step_;
    Evaluate(step_);
  }

  FakeTraining& fake_;
  internal::v1::TrainBegin begin_;
  std::string state_;
  std::deque<TrainResponse> queue_;
  int64_t step_ = 0;
  double sum_ = 0;
  int64_t evaluated_step_ = -1;
  bool owes_checkpoint_ = false;
  bool waits_ = false;
  bool stops_ = false;
  bool ended_at_plan_ = false;
  bool ended_ = false;
};

absl::StatusOr<std::unique_ptr<TrainingSession>> FakeTraining::Train(
    const internal::v1::TrainBegin& begin, const CallOptions& options) {
  TrainRequest request;
  *request.mutable_begin() = begin;
  auto session = std::make_unique<Session>(*this);
  RETURN_IF_ERROR(session->Send(request, options));
  return session;
}

absl::StatusOr<v1::Adapter> FakeRegistrar::Register(
    const std::string& user, const v1::RegisterAdapterRequest& request,
    const CallOptions&) {
  if (!failure.ok()) return failure;
  v1::Adapter adapter;
  adapter.set_name(request.name());
  adapter.set_owner(absl::StrCat("users/", user));
  adapter.set_visibility(request.visibility());
  adapter.set_digest("sha256:adapter");
  *adapter.mutable_artifacts() = request.artifacts();
  adapters[request.name()] = adapter;
  registered.push_back(request.name());
  return adapter;
}

absl::Status FakeRegistrar::Unregister(const std::string& user,
                                       const std::string& name) {
  const auto found = adapters.find(name);
  if (found == adapters.end()) return absl::OkStatus();
  if (found->second.owner() != absl::StrCat("users/", user)) {
    return absl::PermissionDeniedError(absl::StrCat(name, " is not yours"));
  }
  if (name == stuck) return absl::InternalError(absl::StrCat(name, " stays"));
  adapters.erase(found);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<v1::Adapter>> FakeRegistrar::Find(
    const std::string& name) {
  const auto found = adapters.find(name);
  if (found == adapters.end()) return std::nullopt;
  return found->second;
}

}  // namespace dissonance
