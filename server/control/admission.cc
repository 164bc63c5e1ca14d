#include "server/control/admission.h"

#include <memory>
#include <utility>

#include "server/control/auth.h"
#include "server/control/named_models.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// What is known of a call that may be made.
struct CheckedCall {
  Principal caller;
  NamedModels named = {};
  // Goes on in place of a request that names directions.
  std::optional<grpc::ByteBuffer> resolved = std::nullopt;
};

absl::StatusOr<CheckedCall> CheckCall(
    const ForwardingParts& parts, const grpc::CallbackServerContext& context,
    const google::protobuf::Descriptor& type, const grpc::ByteBuffer& request) {
  ASSIGN_OR_RETURN(Principal caller, CallerOf(context, parts.tokens));
  CheckedCall call = {.caller = std::move(caller)};
  // A call without a request is refused where it would be sent on.
  if (!request.Valid()) return call;
  const std::string& user = call.caller.user;
  const Viewer viewer = ViewerOf(call.caller);
  ASSIGN_OR_RETURN(call.named, ModelsNamedIn(type, request));
  RETURN_IF_ERROR(parts.access.CheckSeesAll(viewer, call.named));
  RETURN_IF_ERROR(parts.quotas.CheckDevice(user, parts.ledger.Of(user)));
  if (call.named.directions.empty()) return call;
  ASSIGN_OR_RETURN(call.resolved,
                   parts.directions.Resolve(viewer, type, request));
  return call;
}

}  // namespace

Admission AdmitCall(const ForwardingParts& parts,
                    const grpc::CallbackServerContext& context,
                    const google::protobuf::Descriptor& type,
                    const grpc::ByteBuffer& request) {
  absl::StatusOr<CheckedCall> call = CheckCall(parts, context, type, request);
  if (!call.ok()) return {.refused = call.status()};
  const WorkerChoice worker = parts.route.For(call->named);
  return {.worker = worker.channel,
          .request = std::move(call->resolved),
          .charge = std::make_unique<ChargedCall>(*worker.meter, parts.ledger,
                                                  call->caller.user),
          .streams = &parts.streams,
          .token = call->caller.token};
}

}  // namespace dissonance
