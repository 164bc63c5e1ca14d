// Small trainings of the tiny world on a real server: what they are asked,
// their events, and what one that nothing disturbs leaves.
//
//   ServerProcess server({.data_dir = FineTuneWorld::Get().CopyTo(folder)});
//   ASSERT_TRUE(server.AwaitServing());
//   const auto job = CreateJob(server, SmallTraining(), "");
//   ASSERT_TRUE(JobEvents(server, job->name()).Await("step 5"));
//   ExpectUndisturbed(server, job->name());
#ifndef DISSONANCE_TESTS_SERVER_FINETUNE_FIXTURE_H_
#define DISSONANCE_TESTS_SERVER_FINETUNE_FIXTURE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "grpcpp/client_context.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {

inline constexpr char kTrained[] = "models/tiny/adapters/trained";
inline constexpr int kSmallSteps = 12;

using Files = std::map<std::string, std::string>;

// Lines of a file of the tiny world, each with its end.
std::vector<std::string> TinyWorldLines(const std::string& file);

// 12 steps on 60 documents, with validations after 4, 8 and 12, evaluations
// around 0, 6 and 12, and checkpoints after 3, 6 and 9.
v1::JobSpec SmallTraining();
// The same without an end that a test would see, and with nothing in between.
v1::JobSpec EndlessTraining();

// The tiny world with its base in float32, and its adapter.
absl::Status LoadFloatTinyWorld(ServerProcess& server);

// A data directory with that world, and the files of SmallTraining that nothing
// disturbed. Made once, copied by each test.
class FineTuneWorld {
 public:
  FineTuneWorld();

  // Returns the folder's path.
  std::string CopyTo(const TempFolder& folder) const;
  void CopyTo(const std::string& path) const;
  const Files& files() const { return files_; }

  // Lives as long as the tests.
  static const FineTuneWorld& Get();

 private:
  const TempFolder folder_;
  Files files_;
};

// The job's files that each run of it gives.
absl::StatusOr<Files> ResultFiles(ServerProcess& server, const v1::Job& job);
// The artifact of a job's file; empty if it has none of that name.
std::string ArtifactOf(const v1::Job& job, absl::string_view file_name);

// The events of a job, in their order. Not thread safe; borrows the server.
class JobEvents {
 public:
  JobEvents(ServerProcess& server, const std::string& job);
  ~JobEvents();
  JobEvents(const JobEvents&) = delete;
  JobEvents& operator=(const JobEvents&) = delete;

  // Reads on until an event is at a place: "step N" was recorded, a file of
  // that name was added, the state of that name was entered, or a line of the
  // log has it in it. False if the events end before.
  bool Await(absl::string_view place);
  // The last event read.
  const v1::JobEvent& event() const { return message_.event(); }

 private:
  const std::unique_ptr<grpc::ClientContext> context_;
  const std::unique_ptr<v1::Jobs::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<v1::WatchJobResponse>> reader_;
  v1::WatchJobResponse message_;
};

// Waits for its end: FAILED, with this in the reason.
void ExpectFailed(ServerProcess& server, const std::string& job,
                  const std::vector<std::string>& parts);
// Waits for its end: all steps done, each recorded once, and the files are
// those of the undisturbed run.
void ExpectUndisturbed(ServerProcess& server, const std::string& job);

// Names of the tiny model's adapters, as the owner lists them.
std::vector<std::string> AdapterNames(ServerProcess& server);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_FINETUNE_FIXTURE_H_
