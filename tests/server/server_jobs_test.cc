// Jobs end to end, drains, and crashes at every point of a job's life.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "src/lab/eval/mcq_failpoints.h"
#include "src/lab/jobs/failpoints.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/small_disk.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Key;

constexpr int kQuestions = 10;
constexpr char kConfig[] = "[jobs]\nmcq_questions_per_batch = 4\n";
constexpr char kRequest[] = "the-evaluation";

using Files = std::map<std::string, std::string>;

// A data directory with the tiny world loaded, and the files of an evaluation
// that nothing interrupted. Made once, copied by each test.
class World {
 public:
  World() {
    ServerProcess server({.data_dir = folder_.path(), .config = kConfig});
    EXPECT_TRUE(server.AwaitServing());
    EXPECT_TRUE(LoadTinyWorld(server).ok());
    MakeAdapterWithDropout();
    EXPECT_TRUE(RegisterAdapter(server, kTinyAdapter, adapter_.path()).ok());
    EXPECT_EQ(server.Stop(), 0);
    const TempFolder copy;
    CopyTo(copy.path());
    ServerProcess whole({.data_dir = copy.path(), .config = kConfig});
    EXPECT_TRUE(whole.AwaitServing());
    const auto job = CreateJob(whole, TinyWorldJob(kQuestions), kRequest);
    EXPECT_TRUE(job.ok()) << job.status();
    if (!job.ok()) return;
    const auto ended = AwaitJob(whole, job->name());
    EXPECT_TRUE(ended.ok()) << ended.status();
    EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
    const auto files = JobFiles(whole, *ended);
    EXPECT_TRUE(files.ok()) << files.status();
    files_ = *files;
  }

  void CopyTo(const std::string& path) const {
    CopyDataDir(folder_.path(), path);
  }
  const Files& files() const { return files_; }

  // Lives as long as the tests: making it takes seconds.
  static const World& Get() {
    static const World world;
    return world;
  }

 private:
  // The shipped adapter has none, so its samples would all be equal.
  void MakeAdapterWithDropout() const {
    const std::string shipped = InTree("data/tiny_world/lora_cubic");
    std::filesystem::copy(shipped, adapter_.path(),
                          std::filesystem::copy_options::recursive);
    nlohmann::json config = nlohmann::json::parse(
        *ReadFile(shipped + "/adapter_config.json", 1 << 20));
    config["lora_dropout"] = 0.2;
    EXPECT_TRUE(
        WriteFileAtomically(adapter_.File("adapter_config.json"), config.dump())
            .ok());
  }

  const TempFolder folder_;
  const TempFolder adapter_;
  Files files_;
};

// Asks for the evaluation, waits for its end and compares all its files.
void ExpectWholeResult(ServerProcess& server) {
  const auto job = CreateJob(server, TinyWorldJob(kQuestions), kRequest);
  ASSERT_TRUE(job.ok()) << job.status();
  const auto ended = AwaitJob(server, job->name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  ASSERT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
  EXPECT_EQ(ended->progress().done_count(), kQuestions);
  const auto files = JobFiles(server, *ended);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(*files, World::Get().files());
}

TEST(JobsTest, AnEvaluationRunsToItsEndAndLeavesItsFiles) {
  const Files& files = World::Get().files();
  for (const char* name :
       {"predictions_base.jsonl", "predictions_lora.jsonl",
        "comparison_report.json", "behavioral_shift_analysis.txt",
        "eval_prompts.jsonl", "manifest.json"}) {
    EXPECT_THAT(files, Contains(Key(name)));
  }
}

// Reads a job's events until one enters PAUSED, or the job has ended.
bool AwaitPaused(ServerProcess& server, const std::string& name) {
  v1::WatchJobRequest request;
  request.set_name(name);
  const auto context = server.NewContext();
  const auto stub = server.NewStub<v1::Jobs>();
  const auto reader = stub->WatchJob(context.get(), request);
  v1::WatchJobResponse message;
  bool is_paused = false;
  while (!is_paused && reader->Read(&message)) {
    is_paused = message.event().state() == v1::JOB_STATE_PAUSED;
  }
  context->TryCancel();
  reader->Finish();
  return is_paused;
}

TEST(JobsTest, APausedJobOutlivesTheServerAndGoesOnToTheSameFiles) {
  const TempFolder folder;
  World::Get().CopyTo(folder.path());
  bool is_paused = false;
  v1::ResumeJobRequest resume;
  {
    ServerProcess server({.data_dir = folder.path(), .config = kConfig});
    ASSERT_TRUE(server.AwaitServing());
    const auto job = CreateJob(server, TinyWorldJob(kQuestions), kRequest);
    ASSERT_TRUE(job.ok()) << job.status();
    v1::PauseJobRequest pause;
    pause.set_name(job->name());
    resume.set_name(job->name());
    v1::PauseJobResponse paused;
    const grpc::Status status = server.NewStub<v1::Jobs>()->PauseJob(
        server.NewContext().get(), pause, &paused);
    ASSERT_TRUE(status.ok()) << status.error_message();
    // Unless the pause came in its last batch.
    is_paused = AwaitPaused(server, job->name());
    EXPECT_EQ(server.Stop(), 0);
  }
  ServerProcess server({.data_dir = folder.path(), .config = kConfig});
  ASSERT_TRUE(server.AwaitServing());
  v1::ResumeJobResponse resumed;
  const grpc::Status status = server.NewStub<v1::Jobs>()->ResumeJob(
      server.NewContext().get(), resume, &resumed);
  EXPECT_EQ(status.ok(), is_paused) << status.error_message();
  ExpectWholeResult(server);
}

TEST(JobsTest, ADiskThatFillsUpFailsTheJobAndARetryFinishesIt) {
  constexpr int kMany = 60;
  const TempFolder whole_folder;
  World::Get().CopyTo(whole_folder.path());
  ServerProcess whole({.data_dir = whole_folder.path(), .config = kConfig});
  ASSERT_TRUE(whole.AwaitServing());
  const auto expected_job = CreateJob(whole, TinyWorldJob(kMany), kRequest);
  ASSERT_TRUE(expected_job.ok()) << expected_job.status();
  const auto expected = JobFiles(whole, *AwaitJob(whole, expected_job->name()));
  ASSERT_TRUE(expected.ok()) << expected.status();

  SmallDisk disk(/*mebibytes=*/3);
  if (!disk.mounted()) {
    GTEST_SKIP() << "NOT RUN: mounting a small tmpfs needs root";
  }
  const std::string data_dir = disk.path() + "/data";
  std::filesystem::create_directory(data_dir);
  World::Get().CopyTo(data_dir);
  ServerProcess server({.data_dir = data_dir, .config = kConfig});
  ASSERT_TRUE(server.AwaitServing());
  disk.Fill(/*left=*/300'000);
  const auto job = CreateJob(server, TinyWorldJob(kMany), kRequest);
  ASSERT_TRUE(job.ok()) << job.status();
  const auto failed = AwaitJob(server, job->name());
  ASSERT_TRUE(failed.ok()) << failed.status();
  EXPECT_EQ(failed->state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(failed->reason(), HasSubstr("disk is full"));
  EXPECT_GT(failed->progress().done_count(), 0);

  disk.Free();
  v1::RetryJobRequest retry;
  retry.set_name(job->name());
  v1::RetryJobResponse retried;
  ASSERT_TRUE(server.NewStub<v1::Jobs>()
                  ->RetryJob(server.NewContext().get(), retry, &retried)
                  .ok());
  const auto ended = AwaitJob(server, job->name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
  const auto files = JobFiles(server, *ended);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(*files, *expected);
}

TEST(JobsTest, RunJobSendsTheJobItsEventsAndTheJobAgain) {
  const TempFolder folder;
  World::Get().CopyTo(folder.path());
  ServerProcess server({.data_dir = folder.path(), .config = kConfig});
  ASSERT_TRUE(server.AwaitServing());
  v1::RunJobRequest request;
  *request.mutable_spec() = TinyWorldJob(2);
  const auto context = server.NewContext();
  const auto stub = server.NewStub<v1::Jobs>();
  const auto reader = stub->RunJob(context.get(), request);
  v1::RunJobResponse message;
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.job().state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(message.job().priority(), v1::JOB_PRIORITY_INTERACTIVE);
  int event_count = 0;
  while (reader->Read(&message)) event_count += message.has_event() ? 1 : 0;
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_GT(event_count, 3);
  EXPECT_EQ(message.job().state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(message.job().provenance_size(), 2);
}

TEST(JobsTest, BadDataIsRefusedBeforeAnythingIsStored) {
  const TempFolder folder;
  World::Get().CopyTo(folder.path());
  ServerProcess server({.data_dir = folder.path(), .config = kConfig});
  ASSERT_TRUE(server.AwaitServing());
  v1::JobSpec spec = TinyWorldJob(2);
  spec.mutable_evaluate_mcq()->mutable_data()->append("{\"id\": 3}\n");
  const absl::Status bad = CreateJob(server, spec, "").status();
  EXPECT_TRUE(absl::IsInvalidArgument(bad)) << bad;
  EXPECT_THAT(std::string(bad.message()), HasSubstr("mcqs.jsonl:3"));
  spec = TinyWorldJob(2);
  spec.mutable_evaluate_mcq()->mutable_variants(1)->set_adapter(
      "models/tiny/adapters/nobody");
  EXPECT_TRUE(absl::IsNotFound(CreateJob(server, spec, "").status()));
  v1::ListJobsResponse jobs;
  const auto context = server.NewContext();
  ASSERT_TRUE(server.NewStub<v1::Jobs>()
                  ->ListJobs(context.get(), v1::ListJobsRequest(), &jobs)
                  .ok());
  EXPECT_EQ(jobs.jobs_size(), 0);
}

// A job under way, and the reader of its events.
class WatchedJob {
 public:
  WatchedJob(ServerProcess& server, const std::string& name)
      : context_(server.NewContext()), stub_(server.NewStub<v1::Jobs>()) {
    v1::WatchJobRequest request;
    request.set_name(name);
    reader_ = stub_->WatchJob(context_.get(), request);
  }
  ~WatchedJob() { context_->TryCancel(); }
  bool Await(int event_count) {
    v1::WatchJobResponse message;
    for (int i = 0; i < event_count; ++i) {
      if (!reader_->Read(&message)) return false;
    }
    return true;
  }

 private:
  const std::unique_ptr<grpc::ClientContext> context_;
  const std::unique_ptr<v1::Jobs::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<v1::WatchJobResponse>> reader_;
};

struct WorkerEnd {
  int event_count;  // before it
  int signal;
};

class LostWorkerTest : public ::testing::TestWithParam<WorkerEnd> {};

TEST_P(LostWorkerTest, CostsTheJobNothing) {
  const TempFolder folder;
  World::Get().CopyTo(folder.path());
  ServerProcess server(
      {.data_dir = folder.path(),
       .config = absl::StrCat(kConfig, "[worker]\nheartbeat_seconds = 1.0\n")});
  ASSERT_TRUE(server.AwaitServing());
  const pid_t worker = server.WorkerPid();
  const auto job = CreateJob(server, TinyWorldJob(kQuestions), kRequest);
  ASSERT_TRUE(job.ok()) << job.status();
  WatchedJob watched(server, job->name());
  ASSERT_TRUE(watched.Await(GetParam().event_count));
  ASSERT_EQ(::kill(worker, GetParam().signal), 0);
  ExpectWholeResult(server);
}

// Dead, dead by its own abort(), and hanging until its lease ends.
INSTANTIATE_TEST_SUITE_P(Killed, LostWorkerTest,
                         ::testing::Values(WorkerEnd{1, SIGKILL},
                                           WorkerEnd{3, SIGKILL},
                                           WorkerEnd{4, SIGKILL}));
INSTANTIATE_TEST_SUITE_P(Aborted, LostWorkerTest,
                         ::testing::Values(WorkerEnd{3, SIGABRT}));
INSTANTIATE_TEST_SUITE_P(Frozen, LostWorkerTest,
                         ::testing::Values(WorkerEnd{3, SIGSTOP}));

TEST(JobsTest, SigtermPutsARunningJobBackAndTheNextStartEndsIt) {
  const TempFolder folder;
  World::Get().CopyTo(folder.path());
  std::string name;
  {
    ServerProcess server({.data_dir = folder.path(), .config = kConfig});
    ASSERT_TRUE(server.AwaitServing());
    const auto job = CreateJob(server, TinyWorldJob(kQuestions), kRequest);
    ASSERT_TRUE(job.ok()) << job.status();
    name = job->name();
    v1::WatchJobRequest request;
    request.set_name(name);
    const auto context = server.NewContext();
    const auto stub = server.NewStub<v1::Jobs>();
    const auto reader = stub->WatchJob(context.get(), request);
    v1::WatchJobResponse message;
    // Until it runs.
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(reader->Read(&message));
    server.Signal(SIGTERM);
    while (reader->Read(&message)) {
    }
    const grpc::Status ended = reader->Finish();
    if (!message.has_job()) {
      EXPECT_EQ(ended.error_code(), grpc::StatusCode::UNAVAILABLE)
          << ended.error_message();
      EXPECT_THAT(ended.error_message(), HasSubstr("stopping"));
    }
    EXPECT_EQ(server.AwaitExit(), 0) << server.Log();
  }
  ServerProcess server({.data_dir = folder.path(), .config = kConfig});
  ASSERT_TRUE(server.AwaitServing());
  ExpectWholeResult(server);
}

TEST(JobsTest, AClientThatGoesAwayCancelsItsJobIfItSaidSo) {
  const TempFolder folder;
  World::Get().CopyTo(folder.path());
  ServerProcess server({.data_dir = folder.path(), .config = kConfig});
  ASSERT_TRUE(server.AwaitServing());
  // A frozen worker keeps the job running.
  const pid_t worker = server.WorkerPid();
  ASSERT_EQ(::kill(worker, SIGSTOP), 0);
  v1::RunJobRequest request;
  *request.mutable_spec() = TinyWorldJob(kQuestions);
  request.set_cancel_on_disconnect(true);
  std::string name;
  {
    const auto context = server.NewContext();
    const auto stub = server.NewStub<v1::Jobs>();
    const auto reader = stub->RunJob(context.get(), request);
    v1::RunJobResponse message;
    ASSERT_TRUE(reader->Read(&message));
    name = message.job().name();
    context->TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  const auto ended = AwaitJob(server, name);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::JOB_STATE_CANCELLED) << ended->reason();
}

TEST(JobsTest, ASecondSigtermEndsAtOnce) {
  const TempFolder folder;
  World::Get().CopyTo(folder.path());
  ServerProcess server(
      {.data_dir = folder.path(), .config = "drain_seconds = 3600\n"});
  ASSERT_TRUE(server.AwaitServing());
  // A frozen worker keeps a call in flight, and so the drain.
  const pid_t worker = server.WorkerPid();
  ASSERT_EQ(::kill(worker, SIGSTOP), 0);
  v1::ScoreRequest request;
  request.add_variants()->set_model(kTinyModel);
  v1::ScoreItem& item = *request.add_items();
  item.mutable_prompt()->mutable_tokens()->add_ids(1);
  item.add_continuations()->mutable_tokens()->add_ids(2);
  std::thread client([&] { (void)Score(server, request); });
  server.Signal(SIGTERM);
  ASSERT_TRUE(server.AwaitNotServing());
  server.Signal(SIGTERM);
  EXPECT_EQ(server.AwaitExit(), 1);
  client.join();
}

class CrashTest : public ::testing::TestWithParam<std::string> {};

TEST_P(CrashTest, AJobInterruptedHereEndsWithTheSameBytes) {
  const TempFolder folder;
  World::Get().CopyTo(folder.path());
  {
    ServerProcess server(
        {.data_dir = folder.path(),
         .config = kConfig,
         .environment = {{"DISSONANCE_FAILPOINT", GetParam()}}});
    ASSERT_TRUE(server.AwaitServing());
    // Ends here or later, with or without an answer.
    (void)CreateJob(server, TinyWorldJob(kQuestions), kRequest);
    EXPECT_EQ(server.AwaitExit(), 128 + SIGKILL);
  }
  ServerProcess server({.data_dir = folder.path(), .config = kConfig});
  ASSERT_TRUE(server.AwaitServing());
  ExpectWholeResult(server);
}

std::vector<std::string> AllFailpoints() {
  std::vector<std::string> names;
  for (const absl::string_view name : kJobFailpoints) names.emplace_back(name);
  for (const absl::string_view name : kMcqFailpoints) names.emplace_back(name);
  // Later batches and files too.
  for (const char* name : {"jobs.before_record:2", "jobs.items_recorded:3",
                           "jobs.output_written:3", "jobs.output_stored:5",
                           "eval.items_recorded:2", "eval.output_added:2"}) {
    names.emplace_back(name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(
    EveryFailpoint, CrashTest, ::testing::ValuesIn(AllFailpoints()),
    [](const ::testing::TestParamInfo<std::string>& info) {
      return absl::StrReplaceAll(info.param, {{".", "_"}, {":", "_time_"}});
    });

}  // namespace
}  // namespace dissonance
