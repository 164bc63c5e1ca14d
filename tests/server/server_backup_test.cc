// A backup that is made while everything goes on, and the server made of it.
#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/job_store.h"
#include "tests/client/subprocess.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

namespace fs = std::filesystem;

using ::google::protobuf::util::MessageDifferencer;
using ::testing::AllOf;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Lt;
using ::testing::SizeIs;

// Several jobs at a time, in many steps. What nothing names goes at once.
constexpr char kConfig[] =
    "[jobs]\nconcurrent = 2\nmcq_questions_per_batch = 2\n"
    "[artifacts]\nunnamed_days = 1e-9\n";
constexpr char kUploaded[] = "models/tiny/adapters/uploaded";
constexpr int kLongQuestions = 150;
constexpr int kRoundsBefore = 4;

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(ServerProcess& server,
                              grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                           const Request&,
                                                           Response*),
                              const Request& request) {
  Stub stub(server.channel());
  Response response;
  const auto context = server.NewContext();
  const grpc::Status status = (stub.*method)(context.get(), request, &response);
  if (!status.ok()) return ToAbsl(status);
  return response;
}

// Its name.
absl::StatusOr<std::string> Upload(ServerProcess& server,
                                   const std::string& bytes) {
  v1::WriteArtifactRequest request;
  request.set_name(absl::StrCat("artifacts/", Sha256Of(bytes)));
  request.set_size_bytes(static_cast<int64_t>(bytes.size()));
  request.set_media_type("application/octet-stream");
  request.set_data(bytes);
  v1::WriteArtifactResponse response;
  const auto context = server.NewContext();
  const auto stub = server.NewStub<v1::Artifacts>();
  const auto writer = stub->WriteArtifact(context.get(), &response);
  writer->Write(request);
  writer->WritesDone();
  RETURN_IF_ERROR(ToAbsl(writer->Finish()));
  return request.name();
}

// The shipped adapter's two files, uploaded, as an adapter.
absl::Status RegisterUploaded(ServerProcess& server) {
  const std::string folder = InTree("data/tiny_world/lora_cubic/");
  v1::RegisterAdapterRequest request;
  request.set_name(kUploaded);
  for (const auto& [file, name] :
       {std::pair{"adapter_config.json",
                  request.mutable_artifacts()->mutable_config()},
        std::pair{"adapter_model.safetensors",
                  request.mutable_artifacts()->mutable_weights()}}) {
    ASSIGN_OR_RETURN(const std::string bytes,
                     ReadFile(folder + file, 64 << 20));
    ASSIGN_OR_RETURN(*name, Upload(server, bytes));
  }
  return Call(server, &v1::Models::Stub::RegisterAdapter, request).status();
}

v1::JobSpec UploadedAdapterJob(int question_count) {
  v1::JobSpec spec = TinyWorldJob(question_count);
  spec.mutable_evaluate_mcq()->mutable_variants(1)->set_adapter(kUploaded);
  return spec;
}

// Waits until some of the job's items are on record.
absl::Status AwaitItems(ServerProcess& server, const std::string& name) {
  v1::WatchJobRequest request;
  request.set_name(name);
  const auto context = server.NewContext();
  const auto stub = server.NewStub<v1::Jobs>();
  const auto reader = stub->WatchJob(context.get(), request);
  for (v1::WatchJobResponse message; reader->Read(&message);) {
    if (message.event().progress().done_count() == 0) continue;
    context->TryCancel();
    reader->Finish();
    return absl::OkStatus();
  }
  return absl::InternalError("it ended without progress");
}

// What the server said yes to, and nobody asked it to take back.
struct Ledger {
  std::vector<std::string> jobs;
  std::vector<std::string> artifacts;
};

// Makes jobs and uploads, half of which are deleted or left to the collector.
class Load {
 public:
  explicit Load(ServerProcess& server)
      : server_(server), thread_([this] {
          for (int round = 0; !stop_.HasBeenNotified(); ++round) {
            const absl::Status status = MakeRound(round);
            EXPECT_TRUE(status.ok()) << status;
            if (!status.ok()) break;
            const absl::MutexLock lock(&mutex_);
            ++round_count_;
          }
        }) {}
  ~Load() { Stop(); }

  void Stop() {
    if (!thread_.joinable()) return;
    stop_.Notify();
    thread_.join();
  }
  // After `count` more rounds; false if they do not come.
  bool Await(int count) {
    const absl::MutexLock lock(&mutex_);
    const int target = round_count_ + count;
    const auto is_there = [this, target]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(
                              mutex_) { return round_count_ >= target; };
    return mutex_.AwaitWithTimeout(absl::Condition(&is_there),
                                   ServerProcess::kPatience);
  }
  Ledger ledger() const {
    const absl::MutexLock lock(&mutex_);
    return ledger_;
  }

 private:
  absl::Status MakeRound(int round) {
    ASSIGN_OR_RETURN(const v1::Job kept,
                     CreateJob(server_, UploadedAdapterJob(1 + round % 4),
                               absl::StrCat("kept-", round)));
    ASSIGN_OR_RETURN(const std::string artifact,
                     Upload(server_, absl::StrCat("kept ", round)));
    {
      const absl::MutexLock lock(&mutex_);
      ledger_.jobs.push_back(kept.name());
      ledger_.artifacts.push_back(artifact);
    }
    v1::DeleteArtifactRequest remove;
    ASSIGN_OR_RETURN(*remove.mutable_name(),
                     Upload(server_, absl::StrCat("deleted ", round)));
    RETURN_IF_ERROR(
        Call(server_, &v1::Artifacts::Stub::DeleteArtifact, remove).status());
    RETURN_IF_ERROR(DeleteAJob(round));
    return Collect(round);
  }

  // One that has ended, with its files.
  absl::Status DeleteAJob(int round) {
    ASSIGN_OR_RETURN(const v1::Job job,
                     CreateJob(server_, TinyWorldJob(1 + round % 3),
                               absl::StrCat("deleted-", round)));
    RETURN_IF_ERROR(AwaitJob(server_, job.name()).status());
    v1::DeleteJobRequest request;
    request.set_name(job.name());
    return Call(server_, &v1::Jobs::Stub::DeleteJob, request).status();
  }

  // With something old to be found.
  absl::Status Collect(int round) {
    const std::string bytes = absl::StrCat("unnamed ", round);
    RETURN_IF_ERROR(Upload(server_, bytes).status());
    const std::string hex = Sha256Of(bytes).substr(7);
    fs::last_write_time(
        absl::StrCat(server_.data_dir(), "/artifacts/", hex.substr(0, 2), "/",
                     hex),
        fs::file_time_type::clock::now() - std::chrono::hours(48));
    return Call(server_, &v1::Admin::Stub::CollectGarbage,
                v1::CollectGarbageRequest())
        .status();
  }

  ServerProcess& server_;
  absl::Notification stop_;
  mutable absl::Mutex mutex_;
  Ledger ledger_ ABSL_GUARDED_BY(mutex_);
  int round_count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

CommandResult Dissonanced(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), DISSONANCE_BINARY_DIR "/dissonanced");
  Subprocess process(arguments, {{"HOME", "/nowhere"}});
  return process.Finish();
}

// A server with its load and its backup, and what its jobs left. Its data
// directory is gone. Made once: it takes seconds.
class FirstServer {
 public:
  FirstServer() {
    const std::string data_dir = folder_.File("first");
    fs::create_directory(data_dir);
    Run(data_dir);
    fs::remove_all(data_dir);
  }
  static const FirstServer& Get() {
    static const FirstServer first;
    return first;
  }

  const std::string& backup() const { return backup_; }
  const v1::Job& ended() const { return ended_; }
  const std::string& running() const { return running_; }
  // Before the backup began.
  const Ledger& acknowledged() const { return acknowledged_; }
  // Of the acknowledged jobs, by job and name.
  const std::map<std::string, std::map<std::string, std::string>>& files()
      const {
    return files_;
  }

 private:
  void Run(const std::string& data_dir) {
    ServerProcess server({.data_dir = data_dir, .config = kConfig});
    ASSERT_TRUE(server.AwaitServing());
    for (const absl::Status& ready :
         {LoadTinyWorld(server), RegisterUploaded(server)}) {
      ASSERT_TRUE(ready.ok()) << ready;
    }
    const auto ended = CreateJob(server, UploadedAdapterJob(5), "ended");
    ASSERT_TRUE(ended.ok()) << ended.status();
    ASSERT_TRUE(AwaitJob(server, ended->name()).ok());
    ended_ = *GetJob(server, ended->name());
    const auto running =
        CreateJob(server, UploadedAdapterJob(kLongQuestions), "running");
    ASSERT_TRUE(running.ok()) << running.status();
    running_ = running->name();
    BackUpUnderLoad(server);
    acknowledged_.jobs.push_back(ended_.name());
    acknowledged_.jobs.push_back(running_);
    for (const std::string& name : acknowledged_.jobs) {
      const auto job = AwaitJob(server, name);
      ASSERT_TRUE(job.ok()) << job.status();
      const auto files = JobFiles(server, *job);
      ASSERT_TRUE(files.ok()) << files.status();
      files_[name] = *files;
    }
    ASSERT_EQ(server.Stop(), 0);
  }

  void BackUpUnderLoad(ServerProcess& server) {
    const absl::Status begun = AwaitItems(server, running_);
    ASSERT_TRUE(begun.ok()) << begun;
    Load load(server);
    ASSERT_TRUE(load.Await(kRoundsBefore));
    acknowledged_ = load.ledger();
    v1::BackupRequest request;
    request.set_path(backup_);
    const auto response = Call(server, &v1::Admin::Stub::Backup, request);
    ASSERT_TRUE(response.ok()) << response.status();
    ASSERT_TRUE(load.Await(2));
  }

  const TempFolder folder_;
  const std::string backup_ = folder_.File("backup");
  v1::Job ended_;
  std::string running_;
  Ledger acknowledged_;
  std::map<std::string, std::map<std::string, std::string>> files_;
};

// Each has a data directory made of the backup.
class BackupUnderLoadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const CommandResult restored = Dissonanced(
        {"restore", "--from", first_.backup(), "--data-dir", data_dir_});
    ASSERT_EQ(restored.exit_code, 0) << restored.err;
  }

  const FirstServer& first_ = FirstServer::Get();
  const TempFolder folder_;
  const std::string data_dir_ = folder_.File("second");
};

TEST_F(BackupUnderLoadTest, IsSoundAndHoldsAJobUnderWay) {
  const CommandResult check = Dissonanced({"check", "--data-dir", data_dir_});
  ASSERT_EQ(check.exit_code, 0) << check.out << check.err;
  ASSERT_THAT(check.out, HasSubstr(", 0 findings"));
  const auto database = Database::Open({.data_dir = data_dir_});
  ASSERT_TRUE(database.ok()) << database.status();
  const auto stored =
      JobStore(**database).Get(first_.running(), JobStore::Spec::kWithoutData);
  ASSERT_TRUE(stored.ok()) << stored.status();
  ASSERT_EQ(stored->job.state(), v1::JOB_STATE_RUNNING);
  ASSERT_THAT(stored->job.progress().done_count(),
              AllOf(Gt(0), Lt(kLongQuestions)));
}

TEST_F(BackupUnderLoadTest, GivesAServerThatGoesOnWithoutTheFirstOne) {
  ServerProcess server({.data_dir = data_dir_, .config = kConfig});
  ASSERT_TRUE(server.AwaitServing());

  EXPECT_THAT(first_.acknowledged().artifacts,
              SizeIs(::testing::Ge(kRoundsBefore)));
  for (const std::string& name : first_.acknowledged().artifacts) {
    EXPECT_TRUE(ReadArtifact(server, name).ok()) << name;
  }
  const auto ended = GetJob(server, first_.ended().name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_TRUE(MessageDifferencer::Equals(*ended, first_.ended()));
  for (const auto& [name, expected] : first_.files()) {
    const auto job = AwaitJob(server, name);
    ASSERT_TRUE(job.ok()) << name << ": " << job.status();
    EXPECT_EQ(job->state(), v1::JOB_STATE_SUCCEEDED) << job->reason();
    const auto files = JobFiles(server, *job);
    ASSERT_TRUE(files.ok()) << files.status();
    EXPECT_EQ(*files, expected) << name;
  }
  EXPECT_EQ(GetJob(server, first_.running())->attempt_count(), 2);
  EXPECT_EQ(server.Stop(), 0);
}

TEST_F(BackupUnderLoadTest, GivesAServerWhereAnUploadedAdapterIsTheSame) {
  ServerProcess server({.data_dir = data_dir_, .config = kConfig});
  ASSERT_TRUE(server.AwaitServing());

  v1::GetAdapterRequest get;
  get.set_name(kUploaded);
  const auto found = Call(server, &v1::Models::Stub::GetAdapter, get);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(found->adapter().path(),
              ::testing::StartsWith(data_dir_ + "/adapters/"));
  EXPECT_TRUE(fs::is_directory(found->adapter().path()));
  v1::ReplayJobRequest replay;
  replay.set_name(first_.ended().name());
  const auto again = Call(server, &v1::Jobs::Stub::ReplayJob, replay);
  ASSERT_TRUE(again.ok()) << again.status();
  const auto replayed = AwaitJob(server, again->job().name());
  ASSERT_TRUE(replayed.ok()) << replayed.status();
  EXPECT_EQ(replayed->state(), v1::JOB_STATE_SUCCEEDED) << replayed->reason();
  v1::CompareJobsRequest compare;
  compare.set_first_job(first_.ended().name());
  compare.set_second_job(replayed->name());
  const auto compared = Call(server, &v1::Jobs::Stub::CompareJobs, compare);
  ASSERT_TRUE(compared.ok()) << compared.status();
  EXPECT_TRUE(compared->same_outputs()) << compared->ShortDebugString();
  EXPECT_GT(compared->outputs_size(), 4);
  EXPECT_EQ(server.Stop(), 0);
}

}  // namespace
}  // namespace dissonance
