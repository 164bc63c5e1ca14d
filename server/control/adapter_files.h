// The PEFT folder of an adapter that was given as artifacts, which is what a
// worker reads: <data_dir>/adapters/<hex of config>-<hex of weights>. It is
// there complete or not at all. Functions are thread safe.
//
//   ASSIGN_OR_RETURN(std::string path,
//                    MakeAdapterFolder(artifacts, data_dir,
//                                      request.artifacts(), viewer));
#ifndef DISSONANCE_SERVER_CONTROL_ADAPTER_FILES_H_
#define DISSONANCE_SERVER_CONTROL_ADAPTER_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dissonance/v1/models.pb.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/storage/model_store.h"

namespace dissonance {

// Makes the folder, or finds it, and returns its path; its files are the
// artifacts' own, checked against their digests. INVALID_ARGUMENT for a bad
// name, NOT_FOUND for an artifact that is unknown or hidden from the viewer,
// DATA_LOSS if its bytes are. The artifacts are then safe from garbage
// collection long enough for ModelStore::PutAdapter to name them.
absl::StatusOr<std::string> MakeAdapterFolder(
    ArtifactStore& artifacts, const std::string& data_dir,
    const v1::AdapterArtifacts& adapter, const Viewer& viewer);

// Removes folders that no adapter is made of and that were made before
// `made_before`, and what a crash left half made. Belongs to garbage
// collection: a file in such a folder takes its space though its artifact went.
absl::Status RemoveUnusedAdapterFolders(ModelStore& models,
                                        const std::string& data_dir,
                                        absl::Time made_before);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_ADAPTER_FILES_H_
