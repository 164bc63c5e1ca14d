// Statuses on their way through gRPC. Thread safe.
#ifndef DISSONANCE_SERVER_CONTROL_GRPC_STATUS_H_
#define DISSONANCE_SERVER_CONTROL_GRPC_STATUS_H_

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace dissonance {

// The same code and message. UNAVAILABLE gets a google.rpc.RetryInfo among its
// details, which tells clients when to try again.
grpc::Status ToGrpc(const absl::Status& status);

// The same code and message.
absl::Status FromGrpc(const grpc::Status& status);

// UNAVAILABLE: there is no worker now, or it ended before its answer was
// complete.
absl::Status WorkerUnavailable();

// Whether that is no worker's word, but a sign that it is lost.
bool IsLostWorker(const grpc::Status& status);

// What a call to the worker ended with, as clients should see it: the details
// stay, and any sign of a lost worker is WorkerUnavailable.
grpc::Status FromWorker(const grpc::Status& status);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_GRPC_STATUS_H_
