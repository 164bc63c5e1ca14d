#include "src/lab/artifacts/artifact_name.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace dissonance {

bool IsArtifactHex(absl::string_view hex) {
  return hex.size() == kArtifactHexLength &&
         hex.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

absl::StatusOr<std::string> ArtifactHex(absl::string_view name) {
  absl::string_view hex = name;
  if (absl::ConsumePrefix(&hex, kArtifactPrefix) && IsArtifactHex(hex)) {
    return std::string(hex);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", absl::CHexEscape(name.substr(0, 100)),
      "\" is not an artifact's name: give \"artifacts/sha256:\" and 64 "
      "lower-case hex digits"));
}

}  // namespace dissonance
