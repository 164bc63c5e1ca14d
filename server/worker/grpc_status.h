// absl::Status as gRPC sends it. Thread safe.
#ifndef DISSONANCE_SERVER_WORKER_GRPC_STATUS_H_
#define DISSONANCE_SERVER_WORKER_GRPC_STATUS_H_

#include "absl/status/status.h"
#include "grpcpp/support/status.h"
#include "src/base/worker_details.h"

namespace dissonance {

// The same code and message; the codes of both are numbered alike.
inline grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message()),
                      absl::IsUnavailable(status) ? kWorkerDetails : "");
}

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_GRPC_STATUS_H_
