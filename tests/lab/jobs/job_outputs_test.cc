// What a kind records beside items, over real storage.
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/base/sha256.h"
#include "src/lab/jobs/job_manager.h"
#include "tests/lab/jobs/job_server.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kState[] = "checkpoint-00050/state.safetensors";

absl::Status WriteState(JobContext& job, const std::string& bytes) {
  ASSIGN_OR_RETURN(const std::unique_ptr<OutputWriter> writer,
                   job.OpenOutput(kState, "text/plain", OutputKind::kNamesRun));
  RETURN_IF_ERROR(writer->Append(bytes.substr(0, bytes.size() / 2)));
  RETURN_IF_ERROR(writer->Append(bytes.substr(bytes.size() / 2)));
  return writer->Commit().status();
}

absl::StatusOr<std::string> ReadState(JobContext& job) {
  std::string read;
  RETURN_IF_ERROR(job.ReadOutput(kState, [&read](std::string piece) {
    read += piece;
    return absl::OkStatus();
  }));
  return read;
}

std::string NameOf(const std::string& bytes) {
  return absl::StrCat("artifacts/", Sha256Of(bytes));
}

std::vector<std::string> Names(JobContext& job) {
  std::vector<std::string> names;
  for (const v1::JobOutput& output : OrDie(job.Outputs())) {
    names.push_back(output.file_name());
  }
  return names;
}

class JobOutputsTest : public ::testing::Test {
 protected:
  // A job that does this, at its end.
  v1::Job Run(std::function<absl::Status(JobContext&)> body) {
    server_.kind.run = std::move(body);
    jobs_ = server_.NewManager();
    EXPECT_TRUE(jobs_->Start().ok());
    const std::string name =
        OrDie(jobs_->CreateJob(SomeSpec(), {.owner = "ada"})).name();
    return AwaitEnd(*jobs_, name);
  }

  TempFolder dir_;
  JobServer server_{dir_.path()};
  std::unique_ptr<JobManager> jobs_;
};

TEST_F(JobOutputsTest, AFileThatComesInPiecesIsReadBackInPieces) {
  const std::string bytes(3 << 20, 'x');
  const v1::Job job = Run([&bytes](JobContext& job) -> absl::Status {
    RETURN_IF_ERROR(WriteState(job, bytes));
    EXPECT_EQ(OrDie(ReadState(job)), bytes);
    EXPECT_THAT(Names(job), ElementsAre(kState));
    return absl::OkStatus();
  });
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.reason();
  ASSERT_EQ(job.outputs_size(), 1);
  EXPECT_TRUE(job.outputs(0).names_run());
  EXPECT_EQ(job.outputs(0).size_bytes(), 3 << 20);
}

TEST_F(JobOutputsTest, AFileIsNotThereBeforeItsCommit) {
  const v1::Job job = Run([](JobContext& job) -> absl::Status {
    ASSIGN_OR_RETURN(const std::unique_ptr<OutputWriter> writer,
                     job.OpenOutput(kState, "text/plain", OutputKind::kResult));
    RETURN_IF_ERROR(writer->Append("half"));
    EXPECT_THAT(Names(job), ElementsAre());
    EXPECT_TRUE(absl::IsNotFound(ReadState(job).status()));
    return absl::OkStatus();
  });
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.reason();
  EXPECT_EQ(job.outputs_size(), 0);
}

TEST_F(JobOutputsTest, ARemovedFileGoesUnlessItIsNeeded) {
  const auto put = [](JobContext& job, const char* name, const char* bytes) {
    return job.AddOutput(name, "text/plain", bytes, OutputKind::kResult);
  };
  const v1::Job job = Run([&](JobContext& job) -> absl::Status {
    RETURN_IF_ERROR(put(job, "gone.txt", "gone"));
    RETURN_IF_ERROR(put(job, "pinned.txt", "pinned"));
    RETURN_IF_ERROR(put(job, "same.txt", "kept"));
    RETURN_IF_ERROR(put(job, "kept.txt", "kept"));
    RETURN_IF_ERROR(
        server_.artifacts
            ->Update(NameOf("pinned"), {.user = "ada"}, {.pinned = true})
            .status());
    for (const char* name :
         {"gone.txt", "pinned.txt", "same.txt", "never-there.txt"}) {
      RETURN_IF_ERROR(job.RemoveOutput(name));
    }
    EXPECT_THAT(Names(job), ElementsAre("kept.txt"));
    return absl::OkStatus();
  });
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.reason();
  ASSERT_EQ(job.outputs_size(), 1);
  EXPECT_TRUE(
      absl::IsNotFound(server_.artifacts->Open(NameOf("gone")).status()));
  EXPECT_TRUE(server_.artifacts->Open(NameOf("pinned")).ok());
  EXPECT_TRUE(server_.artifacts->Open(NameOf("kept")).ok());
}

TEST_F(JobOutputsTest, ADamagedFileIsNotReadBack) {
  const v1::Job job = Run([this](JobContext& job) -> absl::Status {
    RETURN_IF_ERROR(WriteState(job, "state"));
    const std::string hex = OrDie(job.Outputs())[0].artifact().substr(17);
    std::ofstream(absl::StrCat(server_.artifacts->directory(), "/",
                               hex.substr(0, 2), "/", hex))
        << "other";
    return ReadState(job).status();
  });
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(job.reason(), HasSubstr("DATA_LOSS"));
}

TEST_F(JobOutputsTest, NamesHaveOneFolderAtMostAndStayInTheirs) {
  for (const char* name : {"", "/", "a/", "/a", "../a", "a/../b", "a/b/c", ".a",
                           "a/.b", "a b", "a\\b"}) {
    const v1::Job job = Run([name](JobContext& job) {
      const absl::Status added =
          job.AddOutput(name, "text/plain", "x", OutputKind::kResult);
      const absl::Status opened =
          job.OpenOutput(name, "text/plain", OutputKind::kResult).status();
      EXPECT_EQ(added, opened);
      return added;
    });
    EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED) << name;
    EXPECT_THAT(job.reason(), HasSubstr("output file name")) << name;
    jobs_.reset();
  }
}

TEST_F(JobOutputsTest, PointsOfCurvesAreEventsOfTheSameTransaction) {
  const v1::Job job = Run([](JobContext& job) -> absl::Status {
    std::vector<v1::MetricPoint> points(2);
    points[0].set_step(1);
    (*points[0].mutable_values())["loss"] = 0.1;
    points[1].set_step(2);
    const std::vector<std::string> items = {"one", "two"};
    RETURN_IF_ERROR(job.Record({.first_index = 0,
                                .items = items,
                                .total_count = 2,
                                .unit = "steps",
                                .metrics = points}));
    // A batch that is not the next one leaves no point either.
    EXPECT_TRUE(absl::IsFailedPrecondition(
        job.Record({.first_index = 7, .metrics = points})));
    return absl::OkStatus();
  });
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.reason();
  std::vector<v1::MetricPoint> points;
  for (const v1::JobEvent& event :
       OrDie(server_.store.Events(job.name(), 0, 100)).events) {
    if (event.has_metrics()) points.push_back(event.metrics());
  }
  ASSERT_EQ(points.size(), 2U);
  EXPECT_EQ(points[0].values().at("loss"), 0.1);
  EXPECT_EQ(points[1].step(), 2);
}

TEST_F(JobOutputsTest, AKindLearnsWhetherMoreIsWantedOfIt) {
  absl::Notification started;
  bool given_up_when_cancelled = false;
  bool given_up_when_stopped = true;
  server_.kind.run = [&](JobContext& job) {
    const bool is_first = !started.HasBeenNotified();
    if (is_first) started.Notify();
    while (!job.cancelled()) std::this_thread::yield();
    (is_first ? given_up_when_cancelled : given_up_when_stopped) =
        job.is_given_up();
    return absl::CancelledError("stopped");
  };
  jobs_ = server_.NewManager();
  ASSERT_TRUE(jobs_->Start().ok());
  const std::string name =
      OrDie(jobs_->CreateJob(SomeSpec(), {.owner = "ada"})).name();
  started.WaitForNotification();
  OrDie(jobs_->Cancel("ada", name));
  AwaitEnd(*jobs_, name);
  EXPECT_TRUE(given_up_when_cancelled);
  const std::string second =
      OrDie(jobs_->CreateJob(SomeSpec(), {.owner = "ada"})).name();
  AwaitState(*jobs_, second, v1::JOB_STATE_RUNNING);
  jobs_.reset();
  EXPECT_FALSE(given_up_when_stopped);
}

}  // namespace
}  // namespace dissonance
