// The lock that lets one server at a time use a data directory: flock on
// <data_dir>/lock, whose contents are the holder's pid. The kernel drops it
// when the process ends, however it ends. Thread safe; movable, owns the file.
//
//   ASSIGN_OR_RETURN(DataDirLock lock, DataDirLock::Acquire(data_dir));
#ifndef DISSONANCE_LAB_STORAGE_DATA_DIR_LOCK_H_
#define DISSONANCE_LAB_STORAGE_DATA_DIR_LOCK_H_

#include <string>

#include "absl/status/statusor.h"

namespace dissonance {

class DataDirLock {
 public:
  // FAILED_PRECONDITION with the holder's pid if another process (or another
  // lock of this one) holds it. The folder must exist.
  static absl::StatusOr<DataDirLock> Acquire(const std::string& data_dir);

  ~DataDirLock();
  DataDirLock(DataDirLock&& other) noexcept;
  DataDirLock& operator=(DataDirLock&& other) noexcept;

 private:
  explicit DataDirLock(int fd) : fd_(fd) {}

  int fd_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_DATA_DIR_LOCK_H_
