#include "server/control/admission.h"

#include <memory>
#include <utility>

#include "server/control/auth.h"
#include "server/control/named_models.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// Who calls, if he may make this call. Puts into `resolved` what goes on in
// place of a request that names directions.
absl::StatusOr<Principal> CheckCaller(
    const ForwardingParts& parts, const grpc::CallbackServerContext& context,
    const google::protobuf::Descriptor& type, const grpc::ByteBuffer& request,
    std::optional<grpc::ByteBuffer>& resolved) {
  ASSIGN_OR_RETURN(Principal caller, CallerOf(context, parts.tokens));
  // A call without a request is refused where it would be sent on.
  if (!request.Valid()) return caller;
  ASSIGN_OR_RETURN(const NamedModels named, ModelsNamedIn(type, request));
  RETURN_IF_ERROR(parts.access.CheckSeesAll(ViewerOf(caller), named));
  RETURN_IF_ERROR(
      parts.quotas.CheckDevice(caller.user, parts.ledger.Of(caller.user)));
  if (named.directions.empty()) return caller;
  ASSIGN_OR_RETURN(resolved,
                   parts.directions.Resolve(ViewerOf(caller), type, request));
  return caller;
}

}  // namespace

Admission AdmitCall(const ForwardingParts& parts,
                    const grpc::CallbackServerContext& context,
                    const google::protobuf::Descriptor& type,
                    const grpc::ByteBuffer& request) {
  std::optional<grpc::ByteBuffer> resolved;
  const absl::StatusOr<Principal> caller =
      CheckCaller(parts, context, type, request, resolved);
  if (!caller.ok()) return {.refused = caller.status()};
  return {.worker = parts.route.channel(),
          .request = std::move(resolved),
          .charge = std::make_unique<ChargedCall>(parts.meter, parts.ledger,
                                                  caller->user),
          .streams = &parts.streams,
          .token = caller->token};
}

}  // namespace dissonance
