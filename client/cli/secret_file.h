// A new file for a secret that is seen only once, prepared before the secret
// is made. Not thread safe.
//
//   ASSIGN_OR_RETURN(SecretFile file, SecretFile::Prepare(path));
//   ...  // make the secret
//   RETURN_IF_ERROR(file.Write(secret));
#ifndef DISSONANCE_CLIENT_CLI_SECRET_FILE_H_
#define DISSONANCE_CLIENT_CLI_SECRET_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/base/file.h"

namespace dissonance::cli {

class SecretFile {
 public:
  // Takes the name `path` with an empty file of mode 0600, so that nothing
  // that is there is ever replaced: ALREADY_EXISTS then. Other errors say why
  // no file can be written there.
  static absl::StatusOr<SecretFile> Prepare(const std::string& path);
  // To replace `path`, or what it links to, by a file of mode 0600.
  static absl::StatusOr<SecretFile> PrepareToReplace(const std::string& path);

  SecretFile(SecretFile&& other) noexcept;
  SecretFile& operator=(SecretFile&&) = delete;
  // Without Write, a name that Prepare took is free again.
  ~SecretFile();

  // Puts the secret and a line break there, whole or not at all. Call once.
  absl::Status Write(absl::string_view secret);

  const std::string& path() const { return path_; }

 private:
  SecretFile(std::string path, AtomicFile file, bool placeholder);

  std::string path_;
  AtomicFile file_;
  bool placeholder_ = false;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_SECRET_FILE_H_
