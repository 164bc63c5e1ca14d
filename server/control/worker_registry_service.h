// The internal WorkerRegistry service over WorkerLeases. Thread safe. Borrows
// the leases.
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_REGISTRY_SERVICE_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_REGISTRY_SERVICE_H_

#include <functional>
#include <memory>

#include "server/control/worker_leases.h"

namespace grpc {
class Service;
}

namespace dissonance {

// `on_register` is called when a worker has its lease; it must not block.
std::unique_ptr<grpc::Service> MakeWorkerRegistryService(
    WorkerLeases& leases, std::function<void()> on_register);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_REGISTRY_SERVICE_H_
