// Where artifacts lie, and copying them with their digests. Thread safe.
//
//   ASSIGN_OR_RETURN(const std::string path, ArtifactPath(root, name));
//   RETURN_IF_ERROR(CopyArtifact(artifact, data_dir, backup));
#ifndef DISSONANCE_LAB_BACKUP_ARTIFACT_FILES_H_
#define DISSONANCE_LAB_BACKUP_ARTIFACT_FILES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/lab/storage/database_file.h"

namespace dissonance {

// The digits of "artifacts/sha256:HEX"; DATA_LOSS for another name, so that
// nothing else of a database ever becomes part of a path.
absl::StatusOr<std::string> ArtifactHex(const std::string& name);

// <root>/artifacts/<first 2 hex>/<64 hex>.
std::string ArtifactPath(const std::string& root, const std::string& hex);

struct CopiedFile {
  std::string digest;  // "sha256:HEX"
  int64_t size_bytes = 0;
};

// Copies a regular file to a path where there is none, mode 0600, and flushes
// it. Symbolic links are not followed. NOT_FOUND without it.
absl::StatusOr<CopiedFile> CopyFile(const std::string& from,
                                    const std::string& to);

// Copies these artifacts from one folder to another and checks them while it
// does. DATA_LOSS for one that is gone or differs; both are named.
absl::Status CopyArtifacts(const std::vector<StoredArtifact>& artifacts,
                           const std::string& from_root,
                           const std::string& to_root);

// Makes a folder for this user only. ALREADY_EXISTS if there is anything.
absl::Status MakeFolder(const std::string& path);

// The folder that `path` lies in.
std::string ParentFolder(const std::string& path);

// `path` without "." and "..", and without a "/" at its end. INVALID_ARGUMENT,
// beginning with `what`, unless it is absolute and has a name.
absl::StatusOr<std::string> CleanPath(absl::string_view what,
                                      absl::string_view path);

// Gives a finished folder its name, durably. It may replace an empty one.
absl::Status PutInPlace(const std::string& unfinished, const std::string& path);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_BACKUP_ARTIFACT_FILES_H_
