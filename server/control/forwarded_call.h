// One call on its way to the worker and back as the bytes it came in, or those
// that its admission puts in their place: nothing is parsed and no thread
// waits. Deadline and cancellation go with the call; the status comes back with
// its details. No metadata passes: a client's token stays here, and so does the
// mark of jobs' calls, which clients can't use. Thread safe: each call owns
// itself and borrows nothing but `request`, `response` and `context`, which are
// gRPC's until the call is done.
//
//   return ForwardStream({.worker = route.channel()},
//                        "/dissonance.v1.Inference/Generate", *context,
//                        request);
#ifndef DISSONANCE_SERVER_CONTROL_FORWARDED_CALL_H_
#define DISSONANCE_SERVER_CONTROL_FORWARDED_CALL_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/control/charged_call.h"
#include "server/control/open_calls.h"
#include "server/control/worker_route.h"

namespace dissonance {

// Whether and how a call goes on.
struct Admission {
  // Not OK: the call ends so.
  absl::Status refused = absl::OkStatus();
  WorkerChannel worker = nullptr;
  // Goes to the worker in place of what the client sent.
  std::optional<grpc::ByteBuffer> request = std::nullopt;
  // Kept as long as the call goes on.
  std::unique_ptr<ChargedCall> charge = nullptr;
  // A stream is ended with its token; null: with nothing but its client.
  OpenCalls* streams = nullptr;
  std::string token = {};
};

// A call with one answer. INVALID_ARGUMENT if the client sent no request;
// UNAVAILABLE, with the time after which to try again, if the worker is null
// or is lost before it answered; else as the worker says.
grpc::ServerUnaryReactor* ForwardUnary(
    Admission admission, const char* method,
    const grpc::CallbackServerContext& context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response);

// A call with a stream of answers. At most two messages are held here: one on
// its way to the client's transport and the next from the worker, so a client
// that does not read stalls the worker's stream. Ends as above, also after
// messages came.
grpc::ServerWriteReactor<grpc::ByteBuffer>* ForwardStream(
    Admission admission, const char* method,
    const grpc::CallbackServerContext& context,
    const grpc::ByteBuffer* request);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_FORWARDED_CALL_H_
