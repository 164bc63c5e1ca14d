// Spans of time as people type them: "30d", "12h", "1d12h". Thread safe.
//
//   AddParsed(app, "--expires", "SPAN", args->lifetime, ParseSpan, "...");
#ifndef DISSONANCE_CLIENT_CLI_DURATIONS_H_
#define DISSONANCE_CLIENT_CLI_DURATIONS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"

namespace dissonance::cli {

// Whole numbers with the units d, h, m and s, larger ones first, each at most
// once. INVALID_ARGUMENT for anything else, and beyond 100 years.
absl::StatusOr<absl::Duration> ParseSpan(const std::string& text);

google::protobuf::Duration ToProto(absl::Duration duration);
absl::Duration FromProto(const google::protobuf::Duration& duration);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_DURATIONS_H_
