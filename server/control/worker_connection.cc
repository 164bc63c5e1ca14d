#include "server/control/worker_connection.h"

#include <atomic>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/client_interceptor.h"
#include "server/control/grpc_status.h"
#include "server/link/worker_credentials.h"

namespace dissonance {

class CallsInFlight {
 public:
  void Add(grpc::ClientContext* call) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    calls_.insert(call);
    // One that has not started yet starts cancelled.
    if (is_cut_) call->TryCancel();
  }
  void Remove(grpc::ClientContext* call) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    calls_.erase(call);
  }
  // The lock keeps the calls alive: each is removed before its end is told.
  void Cut() ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    is_cut_ = true;
    for (grpc::ClientContext* call : calls_) call->TryCancel();
  }
  // What a call has ended with.
  void See(const grpc::Status& end) { seems_lost_ = IsLostWorker(end); }
  bool seems_lost() const { return seems_lost_; }
  bool is_cut() const ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    return is_cut_;
  }
  int count() const ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    return static_cast<int>(calls_.size());
  }

 private:
  std::atomic<bool> seems_lost_ = false;
  mutable absl::Mutex mutex_;
  bool is_cut_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mutex_);
};

namespace {

using grpc::experimental::ClientInterceptorFactoryInterface;
using grpc::experimental::ClientRpcInfo;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;

// There as long as the call's context; the call itself is gone a little before.
class CallWatch final : public Interceptor {
 public:
  CallWatch(std::shared_ptr<CallsInFlight> calls, grpc::ClientContext* call)
      : calls_(std::move(calls)), call_(call) {
    calls_->Add(call_);
  }
  ~CallWatch() override { calls_->Remove(call_); }

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            InterceptionHookPoints::POST_RECV_STATUS)) {
      calls_->Remove(call_);
      calls_->See(*methods->GetRecvStatus());
      if (calls_->is_cut()) {
        *methods->GetRecvStatus() = ToGrpc(WorkerUnavailable());
      }
    }
    methods->Proceed();
  }

 private:
  const std::shared_ptr<CallsInFlight> calls_;
  grpc::ClientContext* const call_;
};

class CallWatchFactory final : public ClientInterceptorFactoryInterface {
 public:
  explicit CallWatchFactory(std::shared_ptr<CallsInFlight> calls)
      : calls_(std::move(calls)) {}
  Interceptor* CreateClientInterceptor(ClientRpcInfo* info) override {
    return new CallWatch(calls_, info->client_context());
  }

 private:
  const std::shared_ptr<CallsInFlight> calls_;
};

grpc::ChannelArguments Arguments(int max_message_bytes) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(max_message_bytes);
  arguments.SetMaxSendMessageSize(max_message_bytes);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  WorkerCredentials::SetNameIn(arguments);
  return arguments;
}

}  // namespace

std::shared_ptr<WorkerConnection> WorkerConnection::Open(
    const std::string& address,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    int max_message_bytes) {
  auto calls = std::make_shared<CallsInFlight>();
  std::vector<std::unique_ptr<ClientInterceptorFactoryInterface>> watches;
  watches.push_back(std::make_unique<CallWatchFactory>(calls));
  WorkerChannel channel =
      grpc::experimental::CreateCustomChannelWithInterceptors(
          address, credentials, Arguments(max_message_bytes),
          std::move(watches));
  return std::shared_ptr<WorkerConnection>(
      new WorkerConnection(std::move(calls), std::move(channel)));
}

std::shared_ptr<WorkerConnection> WorkerConnection::Open(
    const std::string& address, int max_message_bytes) {
  return Open(address, grpc::InsecureChannelCredentials(), max_message_bytes);
}

WorkerConnection::WorkerConnection(std::shared_ptr<CallsInFlight> calls,
                                   WorkerChannel channel)
    : calls_(std::move(calls)), channel_(std::move(channel)) {}

int WorkerConnection::call_count() const { return calls_->count(); }

bool WorkerConnection::seems_lost() const { return calls_->seems_lost(); }

absl::Status WorkerConnection::Probe(absl::Duration timeout) const {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  context.set_wait_for_ready(false);
  // An empty HealthCheckRequest is the question for the whole server.
  const grpc::ByteBuffer question(nullptr, 0);
  grpc::ByteBuffer answer;
  grpc::Status end;
  absl::Notification done;
  grpc::GenericStub(channel_).UnaryCall(
      &context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &question,
      &answer, [&](const grpc::Status& status) {
        end = status;
        done.Notify();
      });
  done.WaitForNotification();
  if (end.ok()) return absl::OkStatus();
  return absl::UnavailableError(end.error_message());
}

void WorkerConnection::Cut() { calls_->Cut(); }

}  // namespace dissonance
