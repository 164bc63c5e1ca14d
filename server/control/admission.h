// Whether a compute call goes on to the worker, and as what: its user sees all
// models, adapters and directions that it names and has device time left;
// directions go on as their vectors. Thread safe. Borrows everything.
//
//   return ForwardUnary(
//       Admit<v1::ScoreRequest>(parts, *context, *request),
//       "/dissonance.v1.Inference/Score", *context, request, response);
#ifndef DISSONANCE_SERVER_CONTROL_ADMISSION_H_
#define DISSONANCE_SERVER_CONTROL_ADMISSION_H_

#include "google/protobuf/descriptor.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/control/direction_resolver.h"
#include "server/control/forwarded_call.h"
#include "server/control/model_access.h"
#include "server/control/open_calls.h"
#include "server/control/quotas.h"
#include "server/control/worker_route.h"
#include "src/lab/jobs/usage_ledger.h"
#include "src/lab/storage/token_store.h"

namespace dissonance {

struct ForwardingParts {
  const WorkerRoute& route;
  const ModelAccess& access;
  const DirectionResolver& directions;
  TokenStore& tokens;
  UsageLedger& ledger;
  const Quotas& quotas;
  OpenCalls& streams;
};

// `type` is the request's.
Admission AdmitCall(const ForwardingParts& parts,
                    const grpc::CallbackServerContext& context,
                    const google::protobuf::Descriptor& type,
                    const grpc::ByteBuffer& request);

template <typename Request>
Admission Admit(const ForwardingParts& parts,
                const grpc::CallbackServerContext& context,
                const grpc::ByteBuffer& request) {
  return AdmitCall(parts, context, *Request::descriptor(), request);
}

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_ADMISSION_H_
