// Whole files, in and out. Writes are atomic: a reader sees the old contents
// or the new ones, never a part, also after a power cut (temporary file in the
// same folder, fsync, rename, fsync of the folder). The functions are thread
// safe. A path with a NUL byte is INVALID_ARGUMENT everywhere.
#ifndef DISSONANCE_BASE_FILE_H_
#define DISSONANCE_BASE_FILE_H_

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

// The contents. NOT_FOUND if there is no such file; RESOURCE_EXHAUSTED if it
// is larger than `limit_bytes`; INVALID_ARGUMENT if it is not a regular file.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     uint64_t limit_bytes);

// Replaces or creates `path`. On failure the old contents stay and no
// temporary file is left; the message names the path and, on a full disk, the
// bytes asked for.
absl::Status WriteFileAtomically(const std::string& path,
                                 absl::string_view contents,
                                 unsigned int mode = 0644);

// The same for contents that come in pieces. Until Commit nothing is visible at
// `path`; without it the pieces are dropped.
//
//   ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
//   for (const std::string& piece : pieces) {
//     RETURN_IF_ERROR(file.Append(piece));
//   }
//   RETURN_IF_ERROR(file.Commit());
//
// Not thread safe.
class AtomicFile {
 public:
  static absl::StatusOr<AtomicFile> Create(std::string path,
                                           unsigned int mode = 0644);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  absl::Status Append(absl::string_view bytes);
  // Flushes and puts the file in its place. Call once, last.
  absl::Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary, int fd,
             unsigned int mode);
  void Discard();

  std::string path_;
  std::string temporary_;  // empty once committed or moved from
  int fd_ = -1;
  unsigned int mode_ = 0;
};

// Brings the files of a folder whose names end in `suffix` into the system's
// memory, so that reading them later is fast. Takes about as long as the disk
// does, unless `stop`, asked every MiB, ends it; what can't be read is left
// out.
void ReadAhead(const std::string& directory, absl::string_view suffix,
               absl::FunctionRef<bool()> stop);

// Makes a folder and its parents. OK if it is there.
absl::Status MakeDirectories(const std::string& path);

// Makes earlier renames and removals inside `directory` durable.
absl::Status SyncDirectory(const std::string& directory);

}  // namespace dissonance

#endif  // DISSONANCE_BASE_FILE_H_
