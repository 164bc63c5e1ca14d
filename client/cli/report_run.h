// A job, or a pipeline's jobs, fetched so that a report can be made of them.
// Thread safe if the connection is.
#ifndef DISSONANCE_CLIENT_CLI_REPORT_RUN_H_
#define DISSONANCE_CLIENT_CLI_REPORT_RUN_H_

#include "absl/status/statusor.h"
#include "client/cli/connection.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/report/report.h"

namespace dissonance::cli {

// Of a pipeline its stages and gates, of another job itself as the only stage;
// with the files that the report reads. FAILED_PRECONDITION, with what to do,
// if the job has no such files.
absl::StatusOr<ReportRun> FetchReportRun(Connection& connection,
                                         const v1::Job& job);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_REPORT_RUN_H_
