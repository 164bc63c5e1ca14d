#include "server/control/data_folder.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {

absl::Status DataFolder::Prepare() const {
  std::error_code error;
  std::filesystem::remove_all(run(), error);
  if (error) {
    return absl::ErrnoToStatus(error.value(),
                               absl::StrCat("cannot remove ", run()));
  }
  RETURN_IF_ERROR(MakeDirectories(run()));
  return MakeDirectories(path_ + "/logs");
}

absl::StatusOr<PidFile> PidFile::Write(const std::string& path) {
  RETURN_IF_ERROR(WriteFileAtomically(path, absl::StrCat(::getpid(), "\n")));
  return PidFile(path);
}

PidFile::PidFile(PidFile&& other) noexcept
    : path_(std::exchange(other.path_, "")) {}

PidFile::~PidFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

}  // namespace dissonance
