// The compute services of the control plane: each call goes to the worker that
// serves when it comes, as the bytes it came in (see forwarded_call.h). Thread
// safe. Borrows the route.
#ifndef DISSONANCE_SERVER_CONTROL_FORWARDING_H_
#define DISSONANCE_SERVER_CONTROL_FORWARDING_H_

#include <memory>

#include "server/control/worker_route.h"

namespace grpc {
class Service;
}

namespace dissonance {

// A call while no worker is READY, or whose worker is lost, ends UNAVAILABLE
// with the time after which to try again.
std::unique_ptr<grpc::Service> MakeForwardedInference(const WorkerRoute& route);
std::unique_ptr<grpc::Service> MakeForwardedInterpretability(
    const WorkerRoute& route);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_FORWARDING_H_
