// Trainings on real processes: what they leave, and that they end with the same
// bytes after a pause, a stop of the server and a full disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "tests/server/finetune_fixture.h"
#include "tests/server/users_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/small_disk.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;

TEST(FineTuneTest, ATrainingLeavesItsFilesItsFiguresAndItsAdapter) {
  const Files& files = FineTuneWorld::Get().files();
  for (const char* name :
       {"adapter_config.json", "adapter_model.safetensors", "training.jsonl",
        "training.vl.json", "dataset.json", "summary.json"}) {
    EXPECT_THAT(files, Contains(Key(name)));
  }
  std::map<int64_t, nlohmann::json> steps;
  std::istringstream text(files.at("training.jsonl"));
  for (std::string line; std::getline(text, line);) {
    const nlohmann::json step = nlohmann::json::parse(line);
    steps[step["step"]] = step;
  }
  // Before the first step there is an evaluation alone.
  ASSERT_EQ(steps.size(), kSmallSteps + 1);
  for (const auto& [step, line] : steps) {
    EXPECT_EQ(line.contains("loss"), step > 0) << step;
    EXPECT_EQ(line.contains("validation_loss"), step > 0 && step % 4 == 0)
        << step;
    EXPECT_EQ(line.contains("evaluation"), step % 6 == 0) << step;
  }
  EXPECT_LT(steps[kSmallSteps]["validation_loss"], steps[4]["validation_loss"]);
}

TEST(FineTuneTest, APausedTrainingGoesOnToTheSameBytes) {
  const TempFolder folder;
  ServerProcess server({.data_dir = FineTuneWorld::Get().CopyTo(folder)});
  ASSERT_TRUE(server.AwaitServing());
  const auto job = CreateJob(server, SmallTraining(), "");
  ASSERT_TRUE(job.ok()) << job.status();
  const Client owner = Client::Owner(server);
  JobEvents events(server, job->name());
  ASSERT_TRUE(events.Await("step 4"));
  const auto paused = owner.CallOf(&v1::Jobs::Stub::PauseJob, job->name());
  ASSERT_TRUE(paused.ok()) << paused.status();
  ASSERT_TRUE(events.Await("JOB_STATE_PAUSED"));
  EXPECT_THAT(AdapterNames(server), ElementsAre(kTinyAdapter));
  const auto resumed = owner.CallOf(&v1::Jobs::Stub::ResumeJob, job->name());
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  // It took a checkpoint where it stood, so nothing is computed again.
  const int64_t kept = GetJob(server, job->name())->progress().done_count();
  ASSERT_TRUE(events.Await("resumes after step "));
  EXPECT_THAT(events.event().log(),
              HasSubstr(absl::StrCat("resumes after step ", kept, "; ")));
  ExpectUndisturbed(server, job->name());
}

TEST(FineTuneTest, SigtermPutsATrainingBackAndTheNextStartEndsIt) {
  const TempFolder folder;
  FineTuneWorld::Get().CopyTo(folder);
  std::string name;
  {
    ServerProcess server({.data_dir = folder.path()});
    ASSERT_TRUE(server.AwaitServing());
    const auto job = CreateJob(server, SmallTraining(), "");
    ASSERT_TRUE(job.ok()) << job.status();
    name = job->name();
    JobEvents events(server, name);
    ASSERT_TRUE(events.Await("step 4"));
    EXPECT_EQ(server.Stop(), 0);
  }
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  JobEvents events(server, name);
  ASSERT_TRUE(events.Await("resumes after step "));
  ExpectUndisturbed(server, name);
}

// With checkpoints of 1.4 and 4.2 MB.
v1::JobSpec LargerTraining() {
  v1::JobSpec spec = SmallTraining();
  spec.mutable_fine_tune()->mutable_lora()->set_rank(64);
  spec.mutable_fine_tune()->clear_evaluation_data();
  spec.mutable_fine_tune()->clear_evaluation();
  return spec;
}

class FullDiskTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const TempFolder folder;
    ServerProcess whole({.data_dir = FineTuneWorld::Get().CopyTo(folder)});
    ASSERT_TRUE(whole.AwaitServing());
    const auto job = CreateJob(whole, LargerTraining(), "");
    ASSERT_TRUE(job.ok()) << job.status();
    const auto ended = AwaitJob(whole, job->name());
    ASSERT_TRUE(ended.ok()) << ended.status();
    expected_ = *ResultFiles(whole, *ended);
  }

  void SetUp() override {
    if (!disk_.mounted() || !scratch_.mounted()) {
      GTEST_SKIP() << "NOT RUN: mounting a small tmpfs needs root";
    }
    std::filesystem::create_directory(data_dir_);
    FineTuneWorld::Get().CopyTo(data_dir_);
    // What the worker writes does not take the room of the artifacts.
    std::filesystem::remove(data_dir_ + "/scratch");
    std::filesystem::create_directory_symlink(scratch_.path(),
                                              data_dir_ + "/scratch");
  }

  // The disk has so much room that not all checkpoints fit, of which
  // `checkpoint` is the last that does; 0: none.
  void FailAndRetry(SmallDisk& disk, uint64_t left, const std::string& path,
                    int64_t checkpoint) {
    ServerProcess server({.data_dir = data_dir_});
    ASSERT_TRUE(server.AwaitServing());
    disk.Fill(left);
    const auto job = CreateJob(server, LargerTraining(), "");
    ASSERT_TRUE(job.ok()) << job.status();
    ExpectFailed(server, job->name(),
                 {"RESOURCE_EXHAUSTED", "cannot write ", " bytes", path,
                  "No space left on device"});
    const auto failed = GetJob(server, job->name());
    ASSERT_TRUE(failed.ok()) << failed.status();
    for (const int64_t step : {3, 6}) {
      for (const char* file : {"adapter_model", "state"}) {
        const std::string name =
            absl::StrFormat("checkpoint-%05d/%s.safetensors", step, file);
        EXPECT_EQ(!ArtifactOf(*failed, name).empty(), step <= checkpoint)
            << name;
      }
    }

    disk.Free();
    const auto retried =
        Client::Owner(server).CallOf(&v1::Jobs::Stub::RetryJob, job->name());
    ASSERT_TRUE(retried.ok()) << retried.status();
    JobEvents events(server, job->name());
    EXPECT_TRUE(
        events.Await(absl::StrCat("resumes after step ", checkpoint, "; ")));
    const auto ended = AwaitJob(server, job->name());
    ASSERT_TRUE(ended.ok()) << ended.status();
    EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
    const auto files = ResultFiles(server, *ended);
    ASSERT_TRUE(files.ok()) << files.status();
    EXPECT_TRUE(*files == expected_);
    EXPECT_EQ(server.Stop(), 0);
    EXPECT_TRUE(std::filesystem::is_empty(scratch_.path()));
  }

  static inline Files expected_;
  SmallDisk disk_{/*mebibytes=*/48};
  SmallDisk scratch_{/*mebibytes=*/16};
  const std::string data_dir_ = disk_.path() + "/data";
};

TEST_F(FullDiskTest, FailsTheTrainingAndARetryGoesOnFromTheLastCheckpoint) {
  FailAndRetry(disk_, /*left=*/8'500'000, data_dir_ + "/artifacts/",
               /*checkpoint=*/3);
}

TEST_F(FullDiskTest, FailsATrainingWhoseWorkerHasNoRoom) {
  FailAndRetry(scratch_, /*left=*/3'000'000, data_dir_ + "/scratch/",
               /*checkpoint=*/0);
}

}  // namespace
}  // namespace dissonance
