// The public Probes service: what computes goes to the worker, as forwarding.h
// has it; what a job has recorded is answered here. Thread safe. Borrows
// everything.
#ifndef DISSONANCE_SERVER_CONTROL_PROBES_SERVICE_H_
#define DISSONANCE_SERVER_CONTROL_PROBES_SERVICE_H_

#include <memory>

#include "server/control/admission.h"
#include "src/lab/jobs/job_manager.h"
#include "src/lab/storage/job_store.h"

namespace grpc {
class Service;
}

namespace dissonance {

struct ProbesParts {
  ForwardingParts forwarding;
  JobManager& jobs;
  JobStore& store;
};

std::unique_ptr<grpc::Service> MakeProbesService(const ProbesParts& parts);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_PROBES_SERVICE_H_
