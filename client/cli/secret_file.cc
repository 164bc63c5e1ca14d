#include "client/cli/secret_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/errors.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

// Nobody but its owner reads it.
constexpr unsigned int kMode = 0600;

}  // namespace

SecretFile::SecretFile(std::string path, AtomicFile file, bool placeholder)
    : path_(std::move(path)),
      file_(std::move(file)),
      placeholder_(placeholder) {}

SecretFile::SecretFile(SecretFile&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::move(other.file_)),
      placeholder_(std::exchange(other.placeholder_, false)) {}

SecretFile::~SecretFile() {
  if (placeholder_) ::unlink(path_.c_str());
}

absl::StatusOr<SecretFile> SecretFile::Prepare(const std::string& path) {
  // First, as it checks the path and the folder without leaving anything.
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path, kMode));
  const int fd =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMode);
  if (fd < 0 && errno == EEXIST) {
    return WithHint(absl::AlreadyExistsError(absl::StrCat(
                        path, " is there already and is not replaced")),
                    "name a new file with --out, or remove this one first");
  }
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", path));
  }
  ::close(fd);
  return SecretFile(path, std::move(file), /*placeholder=*/true);
}

absl::StatusOr<SecretFile> SecretFile::PrepareToReplace(
    const std::string& path) {
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(path, error);
  if (error) {
    return absl::ErrnoToStatus(error.value(),
                               absl::StrCat("cannot replace ", path));
  }
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(target.string(), kMode));
  return SecretFile(path, std::move(file), /*placeholder=*/false);
}

absl::Status SecretFile::Write(absl::string_view secret) {
  RETURN_IF_ERROR(file_.Append(absl::StrCat(secret, "\n")));
  RETURN_IF_ERROR(file_.Commit());
  placeholder_ = false;
  return absl::OkStatus();
}

}  // namespace dissonance::cli
