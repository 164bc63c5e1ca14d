// The compute services of the control plane: each call whose user sees all
// models and adapters that it names goes to the worker that serves when it
// comes, as the bytes it came in, or, where it names directions, with their
// vectors in place of the names (see admission.h and forwarded_call.h). What it
// takes of the device is charged to the user. Thread safe. Borrows everything.
#ifndef DISSONANCE_SERVER_CONTROL_FORWARDING_H_
#define DISSONANCE_SERVER_CONTROL_FORWARDING_H_

#include <memory>

#include "server/control/admission.h"

namespace grpc {
class Service;
}

namespace dissonance {

// A call while no worker is READY, or whose worker is lost, ends UNAVAILABLE
// with the time after which to try again.
std::unique_ptr<grpc::Service> MakeForwardedInference(
    const ForwardingParts& parts);
std::unique_ptr<grpc::Service> MakeForwardedInterpretability(
    const ForwardingParts& parts);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_FORWARDING_H_
