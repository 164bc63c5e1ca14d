// The public Artifacts service over ArtifactStore. ReadArtifact sends a chunk
// when the client has taken the one before, so a slow reader costs one chunk.
// Thread safe. Borrows the store.
#ifndef DISSONANCE_SERVER_CONTROL_ARTIFACTS_SERVICE_H_
#define DISSONANCE_SERVER_CONTROL_ARTIFACTS_SERVICE_H_

#include <memory>

#include "src/lab/artifacts/artifact_store.h"

namespace grpc {
class Service;
}

namespace dissonance {

std::unique_ptr<grpc::Service> MakeArtifactsService(ArtifactStore& artifacts);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_ARTIFACTS_SERVICE_H_
