// Whole files, in and out. Writes are atomic: a reader sees the old contents
// or the new ones, never a part, also after a power cut (temporary file in the
// same folder, fsync, rename, fsync of the folder). Thread safe.
#ifndef DISSONANCE_BASE_FILE_H_
#define DISSONANCE_BASE_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dissonance {

// The contents. NOT_FOUND if there is no such file; RESOURCE_EXHAUSTED if it
// is larger than `limit_bytes`; INVALID_ARGUMENT if it is not a regular file.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     uint64_t limit_bytes);

// Replaces or creates `path`. On failure the old contents stay and no
// temporary file is left; the message names the path and, on a full disk, the
// bytes asked for.
absl::Status WriteFileAtomically(const std::string& path,
                                 std::string_view contents,
                                 unsigned int mode = 0644);

// Makes a folder and its parents. OK if it is there.
absl::Status MakeDirectories(const std::string& path);

// Makes earlier renames and removals inside `directory` durable.
absl::Status SyncDirectory(const std::string& directory);

}  // namespace dissonance

#endif  // DISSONANCE_BASE_FILE_H_
