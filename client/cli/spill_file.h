// Bytes that wait on disk until their place in a file is known: appended, read
// back, cut off at the end. The file has no name, so nothing is left of it
// however the process ends. Not thread safe.
//
//   ASSIGN_OR_RETURN(SpillFile spill, SpillFile::Create("results"));
//   RETURN_IF_ERROR(spill.Append(bytes));
//   RETURN_IF_ERROR(spill.CopyTo(0, spill.size(), file));
#ifndef DISSONANCE_CLIENT_CLI_SPILL_FILE_H_
#define DISSONANCE_CLIENT_CLI_SPILL_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/base/file.h"

namespace dissonance::cli {

class SpillFile {
 public:
  // On the disk that holds `directory`, in which a file must be writable.
  static absl::StatusOr<SpillFile> Create(const std::string& directory);
  SpillFile(SpillFile&& other) noexcept;
  SpillFile& operator=(SpillFile&& other) noexcept;
  ~SpillFile();

  absl::Status Append(absl::string_view bytes);

  // Keeps the first `size` bytes. REQUIRES: size <= size().
  absl::Status Truncate(int64_t size);

  // Appends `size` bytes from `offset` on to `file`.
  absl::Status CopyTo(int64_t offset, int64_t size, AtomicFile& file) const;

  int64_t size() const { return size_; }

 private:
  SpillFile(std::string directory, int fd);

  std::string directory_;
  int fd_ = -1;
  int64_t size_ = 0;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_SPILL_FILE_H_
