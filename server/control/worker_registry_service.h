// The internal WorkerRegistry service over the leases of all workers. Thread
// safe. Borrows the leases.
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_REGISTRY_SERVICE_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_REGISTRY_SERVICE_H_

#include <functional>
#include <memory>
#include <vector>

#include "server/control/worker_leases.h"

namespace grpc {
class Service;
}

namespace dissonance {

// Of one worker. Its functions must not block.
struct RegistrySeat {
  WorkerLeases* leases = nullptr;
  // It has a new lease.
  std::function<void()> on_register;
  // It reported.
  std::function<void(const WorkerReport&)> on_report;
};

std::unique_ptr<grpc::Service> MakeWorkerRegistryService(
    std::vector<RegistrySeat> seats);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_REGISTRY_SERVICE_H_
