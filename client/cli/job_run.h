// Commands that run an experiment as a job: sending its data, creating it,
// following it, fetching its files. Not thread safe.
//
//   AddJobOptions(app, args->job);
//   ...
//   return RunJob(session, args.job, {
//       .fill = [&](Connection& connection) { ... return spec; },
//       .show = [&](const std::string& directory) { ... return text; }});
#ifndef DISSONANCE_CLIENT_CLI_JOB_RUN_H_
#define DISSONANCE_CLIENT_CLI_JOB_RUN_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "dissonance/v1/jobs.pb.h"
#include "nlohmann/json.hpp"

namespace CLI {
class App;
}  // namespace CLI

namespace dissonance::cli {

// How a job is run.
struct JobArgs {
  std::string out;  // the folder for its files
  std::string request_id;
  std::vector<std::string> after;  // jobs that have to succeed first
  v1::JobPriority priority = v1::JOB_PRIORITY_UNSPECIFIED;  // not given
  bool detach = false;
};

// Adds --out, --request-id, --after, --priority and --detach. `args` outlives
// the parsing.
void AddJobOptions(CLI::App& app, JobArgs& args);

// What one kind of job is.
struct JobSteps {
  // The spec. May ask the server, and send it files.
  std::function<absl::StatusOr<v1::JobSpec>(Connection& connection)> fill;
  // For people, of the job's files in `directory`.
  std::function<absl::StatusOr<std::string>(const std::string& directory)> show;
  // The file that `-o json` has as "report".
  std::string report = "summary.json";
  // Set for jobs that may fail with a report: it is shown too, and this says
  // why they did.
  std::function<absl::Status(const std::string& directory,
                             const absl::Status& why)>
      explain = nullptr;
};

// The whole command but for reading data.
absl::Status RunJob(const Session& session, const JobArgs& args,
                    const JobSteps& steps);

// Creates a job that leaves nothing to keep, as dry runs do, and follows it to
// its end: what its report says. Of `args` the folder is not used.
absl::StatusOr<nlohmann::json> RunForReport(const Session& session,
                                            const JobArgs& args,
                                            const JobSteps& steps);

// JSON lines for a job, read before a server is asked for anything.
struct JobData {
  std::string path;
  std::string bytes;
};
absl::StatusOr<JobData> ReadJobData(const std::string& path);

// Stores bytes that are more than a request carries; an artifact's name.
absl::StatusOr<std::string> SendJobData(Connection& connection,
                                        const JobData& data);
bool IsTooLargeToSend(const JobData& data);
// The name of the file, without folders.
std::string NameOfData(const JobData& data);

// Puts the data into a spec that has data, data_name and data_artifact.
template <typename Spec>
absl::Status AddJobData(Connection& connection, const JobData& data,
                        Spec& spec) {
  spec.set_data_name(NameOfData(data));
  if (!IsTooLargeToSend(data)) {
    spec.set_data(data.bytes);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> artifact = SendJobData(connection, data);
  if (artifact.ok()) spec.set_data_artifact(*artifact);
  return artifact.status();
}

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_JOB_RUN_H_
