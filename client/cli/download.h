// Artifacts from the server, checked against the digest in their name. Thread
// safe if the connection is.
#ifndef DISSONANCE_CLIENT_CLI_DOWNLOAD_H_
#define DISSONANCE_CLIENT_CLI_DOWNLOAD_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/connection.h"
#include "dissonance/v1/jobs.pb.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// The bytes, up to 4 GiB. Goes on where it stopped when the connection drops,
// a few times. DATA_LOSS if they do not match the name's digest.
absl::StatusOr<std::string> DownloadArtifact(Connection& connection,
                                             const std::string& name);

// The JSON object in a job's file of that name. DATA_LOSS if there is none.
absl::StatusOr<nlohmann::json> DownloadReport(Connection& connection,
                                              const v1::Job& job,
                                              const std::string& file_name);

// Makes `directory` and sees that files can be written there, so that a bad
// folder is known before anything is computed for it.
absl::Status PrepareFolder(const std::string& directory);

// A folder that is prepared, and removed again if it was made for this and
// nothing came into it, as when a job is refused.
class ResultFolder {
 public:
  static absl::StatusOr<ResultFolder> Prepare(const std::string& directory);
  ~ResultFolder();
  ResultFolder(ResultFolder&& other) noexcept;
  ResultFolder& operator=(ResultFolder&&) = delete;

 private:
  explicit ResultFolder(std::string made) : made_(std::move(made)) {}

  std::string made_;  // empty: it was there before
};

// The job whose results lie in `directory` ("jobs/ULID"), as their manifest
// says; empty if there are none.
std::string JobOfResults(const std::string& directory);

// Writes a job's outputs into `directory`, made if missing, each atomically;
// where `wanted` is given, those that it is true for. Returns the paths, in the
// job's order.
absl::StatusOr<std::vector<std::string>> DownloadOutputs(
    Connection& connection, const v1::Job& job, const std::string& directory,
    const std::function<bool(const v1::JobOutput&)>& wanted = nullptr);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_DOWNLOAD_H_
