// The status of who waited for a job and stops waiting, as he asked: no fault,
// though not done. Pure functions; thread safe.
//
//   return DetachedFrom("jobs/01J...");
#ifndef DISSONANCE_CLIENT_CLI_DETACHED_H_
#define DISSONANCE_CLIENT_CLI_DETACHED_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace dissonance::cli {

// CANCELLED.
absl::Status DetachedFrom(absl::string_view job);

// Whether it is such a status, which is not told as an error.
bool IsDetached(const absl::Status& status);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_DETACHED_H_
