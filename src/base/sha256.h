// SHA-256 digests, written "sha256:" + 64 lower-case hex digits everywhere.
// Digest objects are not thread safe; the functions are.
#ifndef DISSONANCE_BASE_SHA256_H_
#define DISSONANCE_BASE_SHA256_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

// An incremental digest.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(absl::string_view bytes);
  // Feeds the length too, so that ("ab", "c") differs from ("a", "bc").
  void UpdateFramed(absl::string_view bytes);
  // "sha256:HEX" of all updates. Ends the digest: call once.
  std::string Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// "sha256:HEX" of the bytes.
std::string Sha256Of(absl::string_view bytes);

// "sha256:HEX" of a file's contents, read in pieces of 1 MiB.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);

}  // namespace dissonance

#endif  // DISSONANCE_BASE_SHA256_H_
