// How two jobs differ, as people see it. Thread safe.
#ifndef DISSONANCE_CLIENT_CLI_JOB_COMPARISON_H_
#define DISSONANCE_CLIENT_CLI_JOB_COMPARISON_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/connection.h"
#include "dissonance/v1/jobs.pb.h"

namespace dissonance::cli {

// Asks the server. The names are full.
absl::StatusOr<v1::CompareJobsResponse> CompareJobs(Connection& connection,
                                                    const std::string& first,
                                                    const std::string& second);

// "same", "differs", "missing in the second" ...
std::string VerdictOf(const v1::ComparedOutput& output);

// What they were asked and what computed them, where it differs; then every
// file with its verdict. Digests and long values are shortened.
std::string RenderComparison(const v1::CompareJobsResponse& comparison,
                             const std::string& first,
                             const std::string& second);

// The files alone, a verdict each.
std::string RenderVerdicts(const v1::CompareJobsResponse& comparison);

// The differences alone; a sentence where there are none.
std::string RenderDifferences(const v1::CompareJobsResponse& comparison,
                              const std::string& first,
                              const std::string& second);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_JOB_COMPARISON_H_
