// The points of an artifact's way into the store at which a crash must lose
// nothing that was acknowledged; see src/base/failpoint.h.
#ifndef DISSONANCE_LAB_ARTIFACTS_FAILPOINTS_H_
#define DISSONANCE_LAB_ARTIFACTS_FAILPOINTS_H_

#include "absl/strings/string_view.h"

namespace dissonance {

// | name              | reached                                             |
// |-------------------|-----------------------------------------------------|
// | uploads.appended  | a piece is in the part, the client does not know    |
// | uploads.flushed   | the upload is whole and durable, beside the store   |
// | artifacts.written | a file that came in pieces is whole and durable     |
// | artifacts.placed  | the file is in its place and durable, without a row |
inline constexpr absl::string_view kFailpointAppended = "uploads.appended";
inline constexpr absl::string_view kFailpointFlushed = "uploads.flushed";
inline constexpr absl::string_view kFailpointWritten = "artifacts.written";
inline constexpr absl::string_view kFailpointPlaced = "artifacts.placed";

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ARTIFACTS_FAILPOINTS_H_
