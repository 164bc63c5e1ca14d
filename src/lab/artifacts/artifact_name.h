// Names of artifacts, "artifacts/sha256:HEX". Thread safe.
#ifndef DISSONANCE_LAB_ARTIFACTS_ARTIFACT_NAME_H_
#define DISSONANCE_LAB_ARTIFACTS_ARTIFACT_NAME_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

inline constexpr absl::string_view kArtifactPrefix = "artifacts/sha256:";
inline constexpr size_t kArtifactHexLength = 64;

// Whether these are 64 lower-case hex digits.
bool IsArtifactHex(absl::string_view hex);

// The digits of a name; nothing else of it ever becomes part of a path.
// INVALID_ARGUMENT unless it is the prefix and 64 lower-case hex digits.
absl::StatusOr<std::string> ArtifactHex(absl::string_view name);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ARTIFACTS_ARTIFACT_NAME_H_
