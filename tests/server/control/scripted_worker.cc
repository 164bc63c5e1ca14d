#include "tests/server/control/scripted_worker.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"

namespace dissonance {
namespace {

std::string ToString(const grpc::string_ref& text) {
  return {text.data(), text.size()};
}

// One call, played. Deletes itself.
class ScriptedCall final : public grpc::ServerGenericBidiReactor {
 public:
  ScriptedCall(ScriptedWorker::Script script,
               std::shared_ptr<ScriptedWorker::Call> call)
      : script_(std::move(script)), call_(std::move(call)) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    grpc::Slice flat;
    if (ok && request_.DumpToSingleSlice(&flat).ok()) {
      call_->request.assign(flat.begin(), flat.end());
    }
    Continue();
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    ++call_->written_count;
    Continue();
  }
  void OnCancel() override {
    call_->is_cancelled.Notify();
    if (script_.stays_open) FinishIfSecond();
  }
  void OnDone() override { delete this; }

 private:
  void Continue() {
    const int64_t next = call_->written_count;
    if (next < script_.message_count) {
      const grpc::Slice bytes(script_.message ? script_.message(next) : "");
      message_ = grpc::ByteBuffer(&bytes, 1);
      StartWrite(&message_);
    } else if (script_.stays_open) {
      FinishIfSecond();
    } else {
      Finish(script_.end);
    }
  }
  // The last message and the cancellation come in any order.
  void FinishIfSecond() {
    if (came_.exchange(true)) Finish(grpc::Status::CANCELLED);
  }

  const ScriptedWorker::Script script_;
  const std::shared_ptr<ScriptedWorker::Call> call_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer message_;
  std::atomic<bool> came_ = false;
};

}  // namespace

ScriptedWorker::ScriptedWorker() {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.RegisterCallbackGenericService(this);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
  connection_ = WorkerConnection::Open(address_, kMaxMessageBytes);
}

void ScriptedWorker::Play(Script script) {
  const absl::MutexLock lock(&mutex_);
  script_ = std::move(script);
}

std::shared_ptr<const ScriptedWorker::Call> ScriptedWorker::AwaitCall(
    size_t index) {
  const absl::MutexLock lock(&mutex_);
  const auto came = [this, index]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return calls_.size() > index;
  };
  mutex_.Await(absl::Condition(&came));
  return calls_[index];
}

void ScriptedWorker::Kill() {
  server_->Shutdown(std::chrono::system_clock::now());
}

grpc::ServerGenericBidiReactor* ScriptedWorker::CreateReactor(
    grpc::GenericCallbackServerContext* context) {
  const auto call = std::make_shared<Call>();
  call->method = context->method();
  for (const auto& [key, value] : context->client_metadata()) {
    call->metadata.emplace(ToString(key), ToString(value));
  }
  call->has_deadline =
      context->deadline() != std::chrono::system_clock::time_point::max();
  // It is there, whatever the script says.
  if (call->method == "/grpc.health.v1.Health/Check") {
    return new ScriptedCall({}, call);
  }
  const absl::MutexLock lock(&mutex_);
  calls_.push_back(call);
  return new ScriptedCall(script_, call);
}

}  // namespace dissonance
