// The public Artifacts service over ArtifactStore and ArtifactUploads. A call
// holds one message: ReadArtifact sends a chunk when the client has taken the
// one before, WriteArtifact asks for a message when the one before is on the
// disk. Both end when their token does. Thread safe. Borrows its parts.
#ifndef DISSONANCE_SERVER_CONTROL_ARTIFACTS_SERVICE_H_
#define DISSONANCE_SERVER_CONTROL_ARTIFACTS_SERVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "server/control/open_calls.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/artifacts/artifact_uploads.h"
#include "src/lab/storage/token_store.h"

namespace grpc {
class Service;
}

namespace dissonance {

struct ArtifactsParts {
  ArtifactStore& artifacts;
  ArtifactUploads& uploads;
  TokenStore& tokens;
  OpenCalls& streams;
  // Bytes of artifacts that a user may have; 0: no limit. Unset: none has one.
  std::function<int64_t(const std::string& user)> limit_bytes = {};
};

std::unique_ptr<grpc::Service> MakeArtifactsService(ArtifactsParts parts);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_ARTIFACTS_SERVICE_H_
