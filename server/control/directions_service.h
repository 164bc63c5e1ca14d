// The public Directions service over DirectionCatalog. Thread safe. Borrows its
// parts.
#ifndef DISSONANCE_SERVER_CONTROL_DIRECTIONS_SERVICE_H_
#define DISSONANCE_SERVER_CONTROL_DIRECTIONS_SERVICE_H_

#include <memory>

#include "server/control/model_access.h"
#include "server/control/quotas.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/directions/direction_catalog.h"
#include "src/lab/jobs/job_manager.h"
#include "src/lab/storage/token_store.h"

namespace grpc {
class Service;
}

namespace dissonance {

struct DirectionsParts {
  DirectionCatalog& directions;
  TokenStore& tokens;
  const ModelAccess& access;
  const Quotas& quotas;
  JobManager& jobs;
  ArtifactStore& artifacts;
};

std::unique_ptr<grpc::Service> MakeDirectionsService(
    const DirectionsParts& parts);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_DIRECTIONS_SERVICE_H_
