// Whether a job that was found, not made, still speaks of what its names mean
// now. Thread safe if the connection is.
#ifndef DISSONANCE_CLIENT_CLI_EARLIER_JOB_H_
#define DISSONANCE_CLIENT_CLI_EARLIER_JOB_H_

#include "absl/status/status.h"
#include "client/cli/connection.h"
#include "dissonance/v1/jobs.pb.h"

namespace dissonance::cli {

// FAILED_PRECONDITION with both digests if a model or an adapter that the job
// computed with has been replaced under its name since. One that is gone is not
// a difference, nor is a job that has computed nothing yet.
absl::Status CheckNotReplaced(Connection& connection, const v1::Job& job);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_EARLIER_JOB_H_
