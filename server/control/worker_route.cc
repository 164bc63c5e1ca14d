#include "server/control/worker_route.h"

#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/control/grpc_status.h"
#include "src/base/call_priority.h"
#include "src/base/steady_wait.h"

namespace dissonance {
namespace {

using google::protobuf::MessageLite;

// How often a caller's cancellation is looked at.
constexpr absl::Duration kCancelPoll = absl::Milliseconds(20);

// The end of a call, waited for by one thread.
class Ending {
 public:
  void Set(const grpc::Status& status) {
    const absl::MutexLock lock(&mutex_);
    status_ = status;
    ended_ = true;
    end_.SignalAll();
  }
  bool Await(absl::Duration timeout) {
    const absl::MutexLock lock(&mutex_);
    if (!ended_) end_.WaitWithTimeout(mutex_, timeout);
    return ended_;
  }
  grpc::Status status() {
    const absl::MutexLock lock(&mutex_);
    return status_;
  }

 private:
  absl::Mutex mutex_;
  SteadyCondVar end_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

WorkerChannel OpenWorkerChannel(const std::string& address,
                                int max_message_bytes) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(max_message_bytes);
  arguments.SetMaxSendMessageSize(max_message_bytes);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

absl::Status CallWorker(const WorkerChannel& channel, const std::string& method,
                        const MessageLite& request, MessageLite& response,
                        const CallOptions& options, CallPriority priority) {
  if (channel == nullptr) return WorkerUnavailable();
  grpc::ClientContext context;
  if (priority == CallPriority::kJob) {
    context.AddMetadata(kPriorityKey, kJobPriority);
  }
  if (options.timeout != absl::InfiniteDuration()) {
    context.set_deadline(absl::ToChronoTime(absl::Now() + options.timeout));
  }
  Ending ending;
  grpc::TemplatedGenericStub<MessageLite, MessageLite> stub(channel);
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response,
                 [&ending](const grpc::Status& status) { ending.Set(status); });
  const absl::Duration poll =
      options.cancelled ? kCancelPoll : absl::InfiniteDuration();
  bool cancelled = false;
  while (!ending.Await(cancelled ? absl::InfiniteDuration() : poll)) {
    if (!options.cancelled()) continue;
    cancelled = true;
    context.TryCancel();
  }
  if (cancelled) return absl::CancelledError("cancelled");
  return FromGrpc(FromWorker(ending.status()));
}

}  // namespace dissonance
