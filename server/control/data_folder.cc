#include "server/control/data_folder.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr uint64_t kNumberLimitBytes = 64;

}  // namespace

absl::Status DataFolder::Prepare() const {
  const std::string run = path_ + "/run";
  std::error_code error;
  std::filesystem::remove_all(run, error);
  if (error) {
    return absl::ErrnoToStatus(error.value(),
                               absl::StrCat("cannot remove ", run));
  }
  RETURN_IF_ERROR(MakeDirectories(run));
  return MakeDirectories(path_ + "/logs");
}

absl::StatusOr<int64_t> DataFolder::LastFencingNumber() const {
  const absl::StatusOr<std::string> text =
      ReadFile(fencing_file(), kNumberLimitBytes);
  if (absl::IsNotFound(text.status())) return 0;
  RETURN_IF_ERROR(text.status());
  int64_t number = 0;
  if (absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &number)) {
    return number;
  }
  return absl::DataLossError(
      absl::StrCat(fencing_file(),
                   " does not hold a number; write one into it that is greater "
                   "than any fencing number in the log"));
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
