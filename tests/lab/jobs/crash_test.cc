// A server is killed at every failpoint of a job's life, and started again.
// The test process itself runs no job: failpoints are read once a process.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/jobs/failpoints.h"
#include "tests/lab/jobs/job_server.h"
#include "tests/lab/storage/child_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kItemCount = 5;

// Starts a server and asks for the job; returns when the job has ended.
absl::Status ServeUntilDone(const std::string& data_dir,
                            const std::string& computed_path) {
  JobServer server(data_dir);
  server.kind.run = [&](JobContext& job) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<std::string> done, job.RecordedItems());
    std::ofstream(computed_path, std::ios::app) << done.size() << "\n";
    RETURN_IF_ERROR(RecordAll(job, kItemCount));
    return job.AddOutput("second.txt", "text/plain", "more",
                         OutputKind::kResult);
  };
  const auto jobs = server.NewManager();
  RETURN_IF_ERROR(jobs->Start());
  ASSIGN_OR_RETURN(
      const v1::Job job,
      jobs->CreateJob(SomeSpec(), {.owner = "ada", .request_id = "same"}));
  const v1::Job ended = AwaitEnd(*jobs, job.name());
  if (ended.state() == v1::JOB_STATE_SUCCEEDED) return absl::OkStatus();
  return absl::InternalError(ended.ShortDebugString());
}

// What is stored, once no server runs.
struct Stored {
  std::vector<v1::Job> jobs;
  std::vector<std::string> items;
  std::vector<v1::JobEvent> events;
};

Stored ReadStored(const std::string& data_dir) {
  const auto database = OrDie(Database::Open({.data_dir = data_dir}));
  JobStore store(*database);
  Stored stored;
  stored.jobs = OrDie(store.List({}));
  if (stored.jobs.empty()) return stored;
  stored.items = OrDie(store.Items(stored.jobs.front().name()));
  stored.events =
      OrDie(store.Events(stored.jobs.front().name(), 0, 1000)).events;
  return stored;
}

bool IsTornDown(int ended) {
  return WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL;
}

class CrashTest
    : public ::testing::TestWithParam<std::tuple<absl::string_view, int>> {
 protected:
  int Serve(const std::string& failpoint) {
    return RunInChild([&] {
      ::setenv("DISSONANCE_FAILPOINT", failpoint.c_str(), 1);
      return ServeUntilDone(dir_.path(), computed_path_);
    });
  }

  TempFolder dir_;
  const std::string computed_path_ = dir_.path() + "/computed";
};

TEST_P(CrashTest, LosesNothingAndRecordsNothingTwice) {
  const auto [failpoint, count] = GetParam();
  ASSERT_TRUE(IsTornDown(Serve(absl::StrCat(failpoint, ":", count))));

  const Stored before = ReadStored(dir_.path());
  EXPECT_EQ(before.jobs.size(), failpoint == kFailpointBeforeCreate ? 0U : 1U);
  EXPECT_TRUE(std::is_sorted(before.items.begin(), before.items.end()));

  ASSERT_TRUE(ExitedWell(Serve("")));
  const Stored after = ReadStored(dir_.path());
  ASSERT_EQ(after.jobs.size(), 1U);
  const v1::Job& job = after.jobs.front();
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(after.items,
              ElementsAre("item 0", "item 1", "item 2", "item 3", "item 4"));
  ASSERT_EQ(job.outputs_size(), 2);
  EXPECT_EQ(job.outputs(0).size_bytes(), 7);

  // Events go on where they were, without gaps.
  ASSERT_GE(after.events.size(), before.events.size());
  for (size_t i = 0; i < after.events.size(); ++i) {
    EXPECT_EQ(after.events[i].number(), static_cast<int64_t>(i) + 1);
    if (i < before.events.size()) {
      EXPECT_EQ(after.events[i].DebugString(), before.events[i].DebugString());
    }
  }
  if (before.jobs.empty()) return;
  if (before.jobs.front().state() == v1::JOB_STATE_RUNNING) {
    EXPECT_EQ(after.events[before.events.size()].state(), v1::JOB_STATE_QUEUED);
    EXPECT_THAT(after.events[before.events.size() + 1].log(),
                HasSubstr("resumed after the server ended unexpectedly"));
    EXPECT_EQ(job.attempt_count(), 2);
    // The second run began at the first item that was not recorded.
    std::ifstream computed(computed_path_);
    std::vector<size_t> begins;
    for (size_t begin = 0; computed >> begin;) begins.push_back(begin);
    ASSERT_FALSE(begins.empty());
    EXPECT_EQ(begins.back(), before.items.size());
  }
}

std::string NameOf(const ::testing::TestParamInfo<CrashTest::ParamType>& info) {
  return absl::StrCat(
      absl::StrReplaceAll(std::get<0>(info.param), {{".", "_"}}), "_",
      std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(EveryFailpoint, CrashTest,
                         ::testing::Combine(::testing::ValuesIn(kJobFailpoints),
                                            ::testing::Values(1)),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(
    LaterOnes, CrashTest,
    ::testing::Combine(::testing::Values(kFailpointBeforeRecord,
                                         kFailpointItemsRecorded),
                       ::testing::Values(2, 3)),
    NameOf);
INSTANTIATE_TEST_SUITE_P(
    SecondOutput, CrashTest,
    ::testing::Combine(::testing::Values(kFailpointOutputWritten,
                                         kFailpointOutputStored),
                       ::testing::Values(2)),
    NameOf);

TEST_F(CrashTest, APausingJobOfADeadServerIsPausedAndKeepsItsItems) {
  EXPECT_TRUE(IsTornDown(RunInChild([&]() -> absl::Status {
    JobServer server(dir_.path());
    server.kind.run = [](JobContext& job) -> absl::Status {
      RETURN_IF_ERROR(job.RecordItems(0, {ItemText(0)}, 5, "items"));
      while (!job.cancelled()) std::this_thread::yield();
      ::raise(SIGKILL);
      return absl::OkStatus();
    };
    const auto jobs = server.NewManager();
    RETURN_IF_ERROR(jobs->Start());
    ASSIGN_OR_RETURN(const v1::Job job,
                     jobs->CreateJob(SomeSpec(), {.owner = "ada"}));
    AwaitState(*jobs, job.name(), v1::JOB_STATE_RUNNING);
    RETURN_IF_ERROR(jobs->Pause("ada", job.name()).status());
    AwaitEnd(*jobs, job.name());
    return absl::OkStatus();
  })));
  EXPECT_EQ(ReadStored(dir_.path()).jobs.front().state(),
            v1::JOB_STATE_PAUSING);
  EXPECT_TRUE(ExitedWell(RunInChild([&]() -> absl::Status {
    JobServer server(dir_.path());
    return server.NewManager()->Start();
  })));
  const Stored stored = ReadStored(dir_.path());
  EXPECT_EQ(stored.jobs.front().state(), v1::JOB_STATE_PAUSED);
  EXPECT_THAT(stored.items, ElementsAre("item 0"));
}

TEST_F(CrashTest, ACancelledJobOfADeadServerEndsCancelled) {
  EXPECT_TRUE(IsTornDown(RunInChild([&]() -> absl::Status {
    JobServer server(dir_.path());
    server.kind.run = [](JobContext& job) {
      while (!job.cancelled()) std::this_thread::yield();
      ::raise(SIGKILL);
      return absl::OkStatus();
    };
    const auto jobs = server.NewManager();
    RETURN_IF_ERROR(jobs->Start());
    ASSIGN_OR_RETURN(const v1::Job job,
                     jobs->CreateJob(SomeSpec(), {.owner = "ada"}));
    AwaitState(*jobs, job.name(), v1::JOB_STATE_RUNNING);
    RETURN_IF_ERROR(jobs->Cancel("ada", job.name()).status());
    AwaitEnd(*jobs, job.name());
    return absl::OkStatus();
  })));
  EXPECT_EQ(ReadStored(dir_.path()).jobs.front().state(),
            v1::JOB_STATE_CANCELLING);
  EXPECT_TRUE(ExitedWell(RunInChild([&]() -> absl::Status {
    JobServer server(dir_.path());
    return server.NewManager()->Start();
  })));
  const Stored stored = ReadStored(dir_.path());
  EXPECT_EQ(stored.jobs.front().state(), v1::JOB_STATE_CANCELLED);
}

}  // namespace
}  // namespace dissonance
