#include "server/control/local_calls.h"

#include <utility>

#include "absl/synchronization/notification.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/control/grpc_status.h"
#include "src/base/status_macros.h"

namespace dissonance {

using google::protobuf::MessageLite;

void LocalCalls::Open(std::shared_ptr<grpc::Channel> channel) {
  const absl::MutexLock lock(&mutex_);
  channel_ = std::move(channel);
}

absl::Status LocalCalls::Begin(
    absl::FunctionRef<void(const std::shared_ptr<grpc::Channel>&)> begin) {
  const absl::ReaderMutexLock lock(&mutex_);
  if (channel_ == nullptr) {
    return absl::UnavailableError(
        "the server is stopping and takes no new work; try again when it has "
        "been started again");
  }
  begin(channel_);
  return absl::OkStatus();
}

absl::Status LocalCalls::Call(const std::string& method,
                              const std::string& authorization,
                              const MessageLite& request, MessageLite& response,
                              bool is_watch) {
  grpc::ClientContext context;
  if (is_watch) context.AddMetadata(kWatchKey, "1");
  context.AddMetadata("authorization", authorization);
  grpc::Status end;
  absl::Notification ended;
  RETURN_IF_ERROR(Begin([&](const std::shared_ptr<grpc::Channel>& channel) {
    grpc::TemplatedGenericStub<MessageLite, MessageLite>(channel).UnaryCall(
        &context, method, grpc::StubOptions(), &request, &response,
        [&](const grpc::Status& status) {
          end = status;
          ended.Notify();
        });
  }));
  ended.WaitForNotification();
  return FromGrpc(end);
}

}  // namespace dissonance
