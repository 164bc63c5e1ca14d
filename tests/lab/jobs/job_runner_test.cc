#include <sys/mount.h>

#include <atomic>
#include <cmath>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/barrier.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/jobs/job_manager.h"
#include "tests/lab/jobs/job_server.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Time stands still: whatever divides by it must cope.
class StoppedClock : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1); }
  absl::Duration Monotonic() const override { return absl::ZeroDuration(); }
};

// Wall time that a test moves; monotonic time that goes on.
class JumpingClock : public Clock {
 public:
  absl::Time Now() const override { return Real().Now() + jump_.load(); }
  absl::Duration Monotonic() const override { return Real().Monotonic(); }
  void Jump(absl::Duration span) { jump_ = jump_.load() + span; }

 private:
  std::atomic<absl::Duration> jump_ = absl::ZeroDuration();
};

class JobRunnerTest : public ::testing::Test {
 protected:
  void Start(JobManager::Options options = {}) {
    options.initial_backoff = absl::Milliseconds(1);
    jobs_ = server_.NewManager(std::move(options));
    ASSERT_TRUE(jobs_->Start().ok());
  }
  std::string NewJob(v1::JobPriority priority = v1::JOB_PRIORITY_NORMAL) {
    return OrDie(jobs_->CreateJob(SomeSpec(),
                                  {.owner = "ada", .priority = priority}))
        .name();
  }
  std::vector<std::string> Logs(const std::string& name) {
    std::vector<std::string> logs;
    for (const auto& event :
         OrDie(server_.store.Events(name, 0, 1000)).events) {
      if (event.event_case() == v1::JobEvent::kLog) logs.push_back(event.log());
    }
    return logs;
  }

  TempFolder dir_;
  StoppedClock stopped_clock_;
  JobServer server_{dir_.path()};
  std::unique_ptr<JobManager> jobs_;
};

TEST_F(JobRunnerTest, RunsAJobToItsEnd) {
  server_.kind.run = [](JobContext& job) -> absl::Status {
    EXPECT_EQ(job.job().state(), v1::JOB_STATE_RUNNING);
    EXPECT_EQ(job.job().spec().evaluate_mcq().data(), "bulky");
    v1::Provenance provenance;
    provenance.set_model_digest("sha256:1");
    RETURN_IF_ERROR(job.SetProvenance({provenance}));
    return RecordAll(job, 5);
  };
  Start();
  const v1::Job job = AwaitEnd(*jobs_, NewJob());
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.progress().done_count(), 5);
  EXPECT_EQ(job.progress().total_count(), 5);
  EXPECT_EQ(job.progress().unit(), "items");
  EXPECT_EQ(job.attempt_count(), 1);
  EXPECT_EQ(job.provenance(0).model_digest(), "sha256:1");
  ASSERT_EQ(job.outputs_size(), 1);
  EXPECT_EQ(job.outputs(0).file_name(), "items.txt");
  const auto reader = server_.artifacts->Open(job.outputs(0).artifact());
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(*reader->Read(0, 100), "5 items");
}

TEST_F(JobRunnerTest, ProgressIsANumberAlsoWhileNoTimePasses) {
  Start({.clock = &stopped_clock_});
  const std::string name = NewJob();
  AwaitEnd(*jobs_, name);
  for (const auto& event : OrDie(jobs_->ReadEvents("", name, 0)).events) {
    EXPECT_TRUE(std::isfinite(event.progress().rate()));
  }
}

TEST_F(JobRunnerTest, FailsWithTheKindsError) {
  server_.kind.run = [](JobContext&) {
    return absl::InternalError("block 3: NaN");
  };
  Start();
  const v1::Job failed = AwaitEnd(*jobs_, NewJob());
  EXPECT_EQ(failed.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(failed.reason(), "INTERNAL: block 3: NaN");
  server_.kind.run = [](JobContext&) -> absl::Status {
    throw std::runtime_error("thrown");
  };
  const v1::Job threw = AwaitEnd(*jobs_, NewJob());
  EXPECT_EQ(threw.state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(threw.reason(), HasSubstr("thrown"));
}

TEST_F(JobRunnerTest, RetryGoesOnAtTheFirstItemNotRecorded) {
  std::atomic<bool> broken = true;
  server_.kind.run = [&](JobContext& job) -> absl::Status {
    if (!broken) return RecordAll(job, 5);
    RETURN_IF_ERROR(job.RecordItems(0, {ItemText(0)}, 5, "items"));
    return absl::InternalError("broken");
  };
  Start();
  const std::string name = NewJob();
  EXPECT_EQ(AwaitEnd(*jobs_, name).state(), v1::JOB_STATE_FAILED);
  broken = false;
  ASSERT_TRUE(jobs_->Retry("ada", name).ok());
  const v1::Job job = AwaitEnd(*jobs_, name);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.attempt_count(), 2);
  EXPECT_EQ(OrDie(server_.store.Items(name)).size(), 5U);
}

TEST_F(JobRunnerTest, RunsByPriorityThenAge) {
  absl::Mutex mutex;
  std::vector<std::string> order;
  server_.kind.run = [&](JobContext& job) {
    absl::MutexLock lock(&mutex);
    order.push_back(job.job().name());
    return absl::OkStatus();
  };
  jobs_ = server_.NewManager();
  jobs_->SetComputeReady(false);
  ASSERT_TRUE(jobs_->Start().ok());
  const std::string background = NewJob(v1::JOB_PRIORITY_BACKGROUND);
  const std::string first = NewJob();
  const std::string second = NewJob();
  const std::string interactive = NewJob(v1::JOB_PRIORITY_INTERACTIVE);
  jobs_->SetComputeReady(true);
  AwaitEnd(*jobs_, background);
  EXPECT_THAT(order, ElementsAre(interactive, first, second, background));
}

TEST_F(JobRunnerTest, RunsAsManyAtATimeAsAllowed) {
  absl::Notification both;
  std::atomic<int> inside = 0;
  server_.kind.run = [&](JobContext&) {
    if (++inside == 2) both.Notify();
    both.WaitForNotification();
    return absl::OkStatus();
  };
  Start({.max_concurrent_jobs = 2});
  const std::string first = NewJob();
  const std::string second = NewJob();
  EXPECT_EQ(AwaitEnd(*jobs_, first).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(AwaitEnd(*jobs_, second).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobRunnerTest, CancelsARunningJobAtItsNextBatch) {
  server_.kind.run = [](JobContext& job) -> absl::Status {
    for (int64_t i = 0; !job.cancelled(); ++i) {
      RETURN_IF_ERROR(job.RecordItems(i, {ItemText(i)}, i + 1, "items"));
    }
    return absl::CancelledError("stopped");
  };
  Start();
  const std::string name = NewJob();
  AwaitState(*jobs_, name, v1::JOB_STATE_RUNNING);
  EXPECT_EQ(OrDie(jobs_->Cancel("ada", name)).state(),
            v1::JOB_STATE_CANCELLING);
  const v1::Job job = AwaitEnd(*jobs_, name);
  EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(job.reason(), "cancelled on request");
  EXPECT_EQ(static_cast<int64_t>(OrDie(server_.store.Items(name)).size()),
            job.progress().done_count());
}

TEST_F(JobRunnerTest, ACancelledJobEndsCancelledHoweverItsRunEnds) {
  for (const absl::Status& end :
       {absl::OkStatus(), absl::InternalError("late error"),
        absl::UnavailableError("lost")}) {
    server_.kind.run = [end](JobContext& job) {
      while (!job.cancelled()) std::this_thread::yield();
      return end;
    };
    if (jobs_ == nullptr) Start();
    const std::string name = NewJob();
    AwaitState(*jobs_, name, v1::JOB_STATE_RUNNING);
    ASSERT_TRUE(jobs_->Cancel("ada", name).ok());
    const v1::Job job = AwaitEnd(*jobs_, name);
    EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_THAT(job.reason(), HasSubstr(std::string(end.message())));
  }
}

TEST_F(JobRunnerTest, GivesUpAfterLosingTheWorkerWithoutProgress) {
  server_.kind.run = [](JobContext&) {
    return absl::UnavailableError("worker gone");
  };
  Start();
  const std::string name = NewJob();
  const v1::Job job = AwaitEnd(*jobs_, name);
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job.attempt_count(), 5);
  EXPECT_THAT(job.reason(),
              AllOf(HasSubstr("lost 5 times"), HasSubstr("worker gone")));
}

TEST_F(JobRunnerTest, KeepsTryingWhileItMakesProgress) {
  server_.kind.run = [](JobContext& job) -> absl::Status {
    const auto first = static_cast<int64_t>(OrDie(job.RecordedItems()).size());
    if (first == 12) return absl::OkStatus();
    RETURN_IF_ERROR(job.RecordItems(first, {ItemText(first)}, 12, "items"));
    return absl::UnavailableError("worker gone");
  };
  Start();
  const v1::Job job = AwaitEnd(*jobs_, NewJob());
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.attempt_count(), 13);
}

TEST_F(JobRunnerTest, AWorkerThatIsBackEndsTheBackoff) {
  std::atomic<int> runs = 0;
  server_.kind.run = [&](JobContext&) {
    return ++runs == 1 ? absl::UnavailableError("gone") : absl::OkStatus();
  };
  jobs_ = server_.NewManager(
      {.initial_backoff = absl::Hours(1), .max_backoff = absl::Hours(1)});
  ASSERT_TRUE(jobs_->Start().ok());
  const std::string name = NewJob();
  AwaitState(*jobs_, name, v1::JOB_STATE_RUNNING);
  // The job may be on its way back still: say it until it has run again.
  while (runs < 2) {
    jobs_->SetComputeReady(true);
    std::this_thread::yield();
  }
  EXPECT_EQ(AwaitEnd(*jobs_, name).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobRunnerTest, AJumpOfTheWallClockEndsNoBackoffAndMakesNoneLonger) {
  JumpingClock clock;
  std::atomic<int> runs = 0;
  server_.kind.run = [&](JobContext&) {
    clock.Jump(runs == 0 ? absl::Hours(24) : -absl::Hours(48));
    return ++runs < 3 ? absl::UnavailableError("gone") : absl::OkStatus();
  };
  Start({.clock = &clock});
  const v1::Job job = AwaitEnd(*jobs_, NewJob());
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.attempt_count(), 3);
  jobs_ = nullptr;  // before its clock
}

TEST_F(JobRunnerTest, AJumpOfTheWallClockAgesNoJob) {
  JumpingClock clock;
  std::vector<std::string> order;
  server_.kind.run = [&](JobContext& job) {
    order.push_back(job.job().name());
    return absl::OkStatus();
  };
  jobs_ = server_.NewManager(
      {.clock = &clock, .max_concurrent_jobs = 1, .aging = absl::Hours(1)});
  jobs_->SetComputeReady(false);
  ASSERT_TRUE(jobs_->Start().ok());
  const std::string background = NewJob(v1::JOB_PRIORITY_BACKGROUND);
  clock.Jump(absl::Hours(24));
  const std::string interactive = NewJob(v1::JOB_PRIORITY_INTERACTIVE);
  jobs_->SetComputeReady(true);
  AwaitEnd(*jobs_, background);
  AwaitEnd(*jobs_, interactive);
  EXPECT_THAT(order, ElementsAre(interactive, background));
  jobs_ = nullptr;  // before its clock
}

TEST_F(JobRunnerTest, DrainPutsRunningJobsBackAndTheNextServerGoesOn) {
  server_.kind.run = [](JobContext& job) -> absl::Status {
    for (int64_t i = 0; !job.cancelled(); ++i) {
      RETURN_IF_ERROR(job.RecordItems(i, {ItemText(i)}, i + 1, "items"));
    }
    return absl::CancelledError("stopped");
  };
  Start();
  const std::string running = NewJob();
  const std::string waiting = NewJob();
  AwaitState(*jobs_, running, v1::JOB_STATE_RUNNING);
  jobs_->Drain(absl::InfiniteDuration());
  const v1::Job back = OrDie(jobs_->Get("ada", running));
  EXPECT_EQ(back.state(), v1::JOB_STATE_QUEUED);
  EXPECT_THAT(back.reason(), HasSubstr("the server stopped"));
  EXPECT_EQ(OrDie(jobs_->Get("ada", waiting)).attempt_count(), 0);

  const int64_t total = back.progress().done_count() + 3;
  server_.kind.run = [total](JobContext& job) { return RecordAll(job, total); };
  Start();
  const v1::Job done = AwaitEnd(*jobs_, running);
  EXPECT_EQ(done.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(done.attempt_count(), 2);
  EXPECT_EQ(static_cast<int64_t>(OrDie(server_.store.Items(running)).size()),
            total);
}

TEST_F(JobRunnerTest, AStaleAttemptRecordsNothing) {
  absl::Notification entered;
  absl::Notification go_on;
  std::vector<absl::Status> refused;
  server_.kind.run = [&](JobContext& job) {
    if (job.job().attempt_count() > 1) return RecordAll(job, 5);
    entered.Notify();
    go_on.WaitForNotification();
    refused.push_back(job.RecordItems(0, {"stale"}, 5, "items"));
    refused.push_back(job.RecordItems(5, {"stale"}, 6, "items"));
    refused.push_back(job.Log("stale"));
    refused.push_back(
        job.AddOutput("stale", "text/plain", "stale", OutputKind::kResult));
    refused.push_back(job.SetProvenance({}));
    return absl::OkStatus();
  };
  Start();
  const std::string name = NewJob();
  entered.WaitForNotification();
  jobs_->Drain(absl::ZeroDuration());
  EXPECT_EQ(OrDie(jobs_->Get("ada", name)).state(), v1::JOB_STATE_QUEUED);
  // Another server takes the job while the first attempt still runs.
  auto next = server_.NewManager();
  ASSERT_TRUE(next->Start().ok());
  const v1::Job done = AwaitEnd(*next, name);
  EXPECT_EQ(done.state(), v1::JOB_STATE_SUCCEEDED);
  go_on.Notify();
  jobs_.reset();
  EXPECT_EQ(refused.size(), 5U);
  for (const absl::Status& status : refused) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(status.message(), HasSubstr("attempt 1"));
  }
  EXPECT_EQ(done.attempt_count(), 2);
  EXPECT_EQ(OrDie(server_.store.Get(name, JobStore::Spec::kWithoutData))
                .job.DebugString(),
            done.DebugString());
  EXPECT_EQ(OrDie(server_.store.Items(name)).front(), ItemText(0));
  EXPECT_EQ(OrDie(next->Get("ada", name)).outputs_size(), 1);
}

TEST_F(JobRunnerTest, AStaleAttemptRecordsNothingWhileTheJobWaitsOrRunsAgain) {
  absl::Notification entered;
  absl::Notification queued;
  absl::Notification refused_queued;
  absl::Notification running;
  absl::Notification refused_running;
  const auto is_refused = [](JobContext& job) {
    return job.RecordItems(0, {"stale"}, 5, "items").code() ==
           absl::StatusCode::kFailedPrecondition;
  };
  server_.kind.run = [&](JobContext& job) {
    if (job.job().attempt_count() > 1) {
      running.Notify();
      refused_running.WaitForNotification();
      return RecordAll(job, 5);
    }
    entered.Notify();
    queued.WaitForNotification();
    EXPECT_TRUE(is_refused(job));
    refused_queued.Notify();
    running.WaitForNotification();
    EXPECT_TRUE(is_refused(job));
    refused_running.Notify();
    return absl::OkStatus();
  };
  Start();
  const std::string name = NewJob();
  entered.WaitForNotification();
  jobs_->Drain(absl::ZeroDuration());
  queued.Notify();
  refused_queued.WaitForNotification();
  auto next = server_.NewManager();
  ASSERT_TRUE(next->Start().ok());
  EXPECT_EQ(AwaitEnd(*next, name).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(OrDie(server_.store.Items(name)).front(), ItemText(0));
}

TEST_F(JobRunnerTest, WhatARefusedWriteSpentIsChargedByTheNext) {
  server_.kind.run = [](JobContext& job) -> absl::Status {
    job.spend().Add(0.5, 10);
    EXPECT_FALSE(job.RecordItems(3, {"x"}, 5, "items").ok());
    job.spend().Add(0.25, 1);
    return RecordAll(job, 2);
  };
  Start();
  const v1::Job job = AwaitEnd(*jobs_, NewJob());
  EXPECT_EQ(job.usage().device_seconds(), 0.75);
  EXPECT_EQ(job.usage().token_count(), 11);
}

TEST_F(JobRunnerTest, RefusesItemsOutOfOrderAndImpossibleTotals) {
  server_.kind.run = [](JobContext& job) -> absl::Status {
    RETURN_IF_ERROR(job.RecordItems(0, {"a", "b"}, 4, "items"));
    for (const int64_t first : {-1, 0, 1, 3}) {
      EXPECT_EQ(job.RecordItems(first, {"x"}, 4, "items").code(),
                absl::StatusCode::kFailedPrecondition);
    }
    EXPECT_EQ(job.RecordItems(2, {"c"}, 2, "items").code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(OrDie(job.RecordedItems()).size(), 2U);
    return absl::OkStatus();
  };
  Start();
  EXPECT_EQ(AwaitEnd(*jobs_, NewJob()).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobRunnerTest, ReplacesAnOutputOfTheSameNameAndRefusesHostileOnes) {
  server_.kind.run = [](JobContext& job) -> absl::Status {
    RETURN_IF_ERROR(
        job.AddOutput("a.txt", "text/plain", "first", OutputKind::kResult));
    RETURN_IF_ERROR(
        job.AddOutput("a.txt", "text/plain", "second!", OutputKind::kResult));
    RETURN_IF_ERROR(
        job.AddOutput("a.txt", "text/plain", "second!", OutputKind::kResult));
    for (const std::string& name :
         {std::string(), std::string(".."), std::string("../a"),
          std::string("/a"), std::string(".a"), std::string("a\0b", 3),
          std::string(256, 'a')}) {
      EXPECT_EQ(
          job.AddOutput(name, "text/plain", "x", OutputKind::kResult).code(),
          absl::StatusCode::kInvalidArgument)
          << name;
    }
    return absl::OkStatus();
  };
  Start();
  const std::string name = NewJob();
  const v1::Job job = AwaitEnd(*jobs_, name);
  ASSERT_EQ(job.outputs_size(), 1);
  EXPECT_EQ(job.outputs(0).size_bytes(), 7);
  int output_events = 0;
  for (const auto& event : OrDie(jobs_->ReadEvents("", name, 0)).events) {
    if (event.event_case() == v1::JobEvent::kOutput) ++output_events;
  }
  EXPECT_EQ(output_events, 2);
}

TEST_F(JobRunnerTest, AFullDiskFailsTheJobWithPathAndBytes) {
  const std::string folder = dir_.path() + "/artifacts";
  if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "NOT RUN: mounting a small tmpfs needs root";
  }
  server_.kind.run = [](JobContext& job) {
    return job.AddOutput("a", "text/plain", std::string(1 << 20, 'x'),
                         OutputKind::kResult);
  };
  Start();
  const v1::Job job = AwaitEnd(*jobs_, NewJob());
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(job.reason(),
              AllOf(HasSubstr("RESOURCE_EXHAUSTED"), HasSubstr(folder),
                    HasSubstr("1048576 bytes")));
  ::umount(folder.c_str());
}

TEST_F(JobRunnerTest, AReadOnlyDiskFailsTheJobWithThePath) {
  const std::string folder = dir_.path() + "/artifacts";
  if (::mount("tmpfs", folder.c_str(), "tmpfs", MS_RDONLY, "") != 0) {
    GTEST_SKIP() << "NOT RUN: mounting a tmpfs needs root";
  }
  Start();
  const v1::Job job = AwaitEnd(*jobs_, NewJob());
  ::umount(folder.c_str());
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(job.reason(),
              AllOf(HasSubstr(folder), HasSubstr("Read-only file system")));
  EXPECT_EQ(job.outputs_size(), 0);
  EXPECT_EQ(job.progress().done_count(), 5);
}

}  // namespace
}  // namespace dissonance
