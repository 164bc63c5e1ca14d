// The stream of a request that was refused. Deletes itself.
#ifndef DISSONANCE_SERVER_WORKER_REFUSED_STREAM_H_
#define DISSONANCE_SERVER_WORKER_REFUSED_STREAM_H_

#include "absl/status/status.h"
#include "grpcpp/support/server_callback.h"
#include "server/worker/grpc_status.h"

namespace dissonance {

// A stream that ends before it began. Deletes itself.
template <typename Response>
class RefusedStream final : public grpc::ServerWriteReactor<Response> {
 public:
  explicit RefusedStream(const absl::Status& status) {
    this->Finish(ToGrpc(status));
  }
  void OnDone() override { delete this; }
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_REFUSED_STREAM_H_
