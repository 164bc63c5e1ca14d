// The folder of a long run: removed at the end, unless the run found something
// to look at. In /tmp, because the path of a unix socket has to be short. Not
// thread safe.
#ifndef DISSONANCE_TESTS_ENDURANCE_RUN_FOLDER_H_
#define DISSONANCE_TESTS_ENDURANCE_RUN_FOLDER_H_

#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

class RunFolder {
 public:
  static absl::StatusOr<RunFolder> Make(absl::string_view name) {
    std::string path = std::filesystem::temp_directory_path() /
                       ("dissonance-" + std::string(name) + ".XXXXXX");
    if (::mkdtemp(path.data()) != nullptr) return RunFolder(std::move(path));
    return absl::ErrnoToStatus(errno, "cannot make " + path);
  }
  RunFolder(RunFolder&& other) noexcept
      : path_(std::exchange(other.path_, "")), keep_(other.keep_) {}
  RunFolder& operator=(RunFolder&&) = delete;
  ~RunFolder() {
    if (!keep_) Remove();
  }

  std::string File(const std::string& name) const { return path_ + "/" + name; }
  // From now on it stays when this object goes.
  void Keep() { keep_ = true; }
  void Remove() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove_all(path_, error);
  }

 private:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}

  std::string path_;
  bool keep_ = false;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_RUN_FOLDER_H_
