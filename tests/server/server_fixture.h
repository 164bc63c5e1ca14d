// Shared steps of the server's tests: models and adapters of the goldens and
// of the tiny world, an evaluation job, and its files.
#ifndef DISSONANCE_TESTS_SERVER_SERVER_FIXTURE_H_
#define DISSONANCE_TESTS_SERVER_SERVER_FIXTURE_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/inference.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "dissonance/v1/models.pb.h"
#include "tests/testing/server_process.h"

namespace dissonance {

inline constexpr char kChatModel[] = "models/chat";
inline constexpr char kTinyModel[] = "models/tiny";
inline constexpr char kTinyAdapter[] = "models/tiny/adapters/cubic";

// A path below the tree's root.
std::string InTree(const std::string& path);

// Copies a data directory that no server has open.
void CopyDataDir(const std::string& from, const std::string& to);

absl::Status ToAbsl(const grpc::Status& status);

// Where it serves HTTP, by its log; 0 if it does not say.
int HttpPortOf(const ServerProcess& server);

absl::StatusOr<v1::Model> LoadModel(ServerProcess& server,
                                    const std::string& name,
                                    const std::string& path);
absl::StatusOr<v1::Adapter> RegisterAdapter(ServerProcess& server,
                                            const std::string& name,
                                            const std::string& path);
// The tiny world's model and adapter.
absl::Status LoadTinyWorld(ServerProcess& server);

absl::StatusOr<v1::ScoreResponse> Score(ServerProcess& server,
                                        const v1::ScoreRequest& request);
// The items of goldens/e2e_chat's question: five continuations of a prompt.
v1::ScoreRequest ChatScoreRequest(const std::string& model);

// evaluate_mcq of the tiny world's base and adapter on the first
// `question_count` questions.
v1::JobSpec TinyWorldJob(int question_count);
absl::StatusOr<v1::Job> CreateJob(ServerProcess& server,
                                  const v1::JobSpec& spec,
                                  const std::string& request_id);
absl::StatusOr<v1::Job> GetJob(ServerProcess& server, const std::string& name);
// Watches until the job has ended; events are checked to be without gaps.
absl::StatusOr<v1::Job> AwaitJob(ServerProcess& server,
                                 const std::string& name);
absl::StatusOr<std::string> ReadArtifact(ServerProcess& server,
                                         const std::string& name);
// The job's files by name; manifest.json without what names the run.
absl::StatusOr<std::map<std::string, std::string>> JobFiles(
    ServerProcess& server, const v1::Job& job);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_SERVER_FIXTURE_H_
