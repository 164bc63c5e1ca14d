// A path of its own in a folder for files that are needed for a moment. What
// lies there goes with the object. Thread safe.
//
//   const ScratchPath scratch(folder);
//   RETURN_IF_ERROR(WriteSafetensors(scratch.path(), tensors));
#ifndef DISSONANCE_SERVER_WORKER_SCRATCH_PATH_H_
#define DISSONANCE_SERVER_WORKER_SCRATCH_PATH_H_

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"

namespace dissonance {

class ScratchPath {
 public:
  explicit ScratchPath(const std::string& folder)
      : path_(absl::StrCat(folder, "/training-", ::getpid(), "-",
                           NextNumber())) {}
  ScratchPath(const ScratchPath&) = delete;
  ScratchPath& operator=(const ScratchPath&) = delete;
  ~ScratchPath() { ::unlink(path_.c_str()); }

  const std::string& path() const { return path_; }

 private:
  static int64_t NextNumber() {
    static std::atomic<int64_t> number = 0;
    return ++number;
  }

  const std::string path_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_SCRATCH_PATH_H_
