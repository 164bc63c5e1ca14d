// Jobs that are paused, in any state, and go on.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

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

constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

class JobPauseTest : public ::testing::Test {
 protected:
  void Make(JobManager::Options options = {}) {
    options.initial_backoff = absl::Milliseconds(1);
    jobs_ = server_.NewManager(std::move(options));
  }
  void Start(JobManager::Options options = {}) {
    Make(std::move(options));
    ASSERT_TRUE(jobs_->Start().ok());
  }
  std::string NewJob(JobManager::CreateOptions options = {.owner = "ada"}) {
    return OrDie(jobs_->CreateJob(SomeSpec(), options)).name();
  }
  v1::JobState Pause(const std::string& name) {
    return OrDie(jobs_->Pause("ada", name)).state();
  }
  v1::JobState Resume(const std::string& name) {
    return OrDie(jobs_->Resume("ada", name)).state();
  }
  v1::Job Get(const std::string& name) { return OrDie(jobs_->Get("", name)); }
  // Records an item at each look until it is stopped.
  static absl::Status RunUntilStopped(JobContext& job) {
    auto i = static_cast<int64_t>(OrDie(job.RecordedItems()).size());
    for (; !job.cancelled(); ++i) {
      RETURN_IF_ERROR(job.RecordItems(i, {ItemText(i)}, i + 1, "items"));
    }
    return absl::CancelledError("stopped");
  }
  // A job whose kind returns `end` once it is asked to stop.
  std::string StartedJobThatEnds(const absl::Status& end) {
    server_.kind.run = [end](JobContext& job) {
      while (!job.cancelled()) std::this_thread::yield();
      return end;
    };
    std::string name = NewJob();
    AwaitState(*jobs_, name, v1::JOB_STATE_RUNNING);
    return name;
  }

  TempFolder dir_;
  JobServer server_{dir_.path()};
  std::unique_ptr<JobManager> jobs_;
};

TEST_F(JobPauseTest, ARunningJobStopsAtItsNextBatchAndGoesOnThere) {
  server_.kind.run = RunUntilStopped;
  Start();
  const std::string name = NewJob();
  AwaitState(*jobs_, name, v1::JOB_STATE_RUNNING);
  EXPECT_EQ(Pause(name), v1::JOB_STATE_PAUSING);
  const v1::Job paused = AwaitState(*jobs_, name, v1::JOB_STATE_PAUSED);
  EXPECT_EQ(paused.state(), v1::JOB_STATE_PAUSED);
  EXPECT_FALSE(paused.has_end_time());
  const int64_t done = paused.progress().done_count();
  EXPECT_THAT(paused.reason(),
              AllOf(HasSubstr("paused on request"), HasSubstr("ResumeJob"),
                    HasSubstr(absl::StrCat(done, " items"))));
  EXPECT_EQ(std::ssize(OrDie(server_.store.Items(name))), done);

  server_.kind.run = [done](JobContext& job) {
    return RecordAll(job, done + 3);
  };
  EXPECT_EQ(Resume(name), v1::JOB_STATE_QUEUED);
  const v1::Job ended = AwaitEnd(*jobs_, name);
  EXPECT_EQ(ended.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(ended.attempt_count(), 2);
  EXPECT_EQ(std::ssize(OrDie(server_.store.Items(name))), done + 3);
}

TEST_F(JobPauseTest, APausedJobIsNotStartedThoughAllElseIs) {
  Start({.max_concurrent_jobs = 2});
  jobs_->SetComputeReady(false);
  const std::string name = NewJob();
  EXPECT_EQ(Pause(name), v1::JOB_STATE_PAUSED);
  jobs_->SetComputeReady(true);
  // A younger job of lower priority ran, so this one was passed over.
  AwaitEnd(*jobs_,
           NewJob({.owner = "ada", .priority = v1::JOB_PRIORITY_BACKGROUND}));
  EXPECT_EQ(Get(name).state(), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(Get(name).attempt_count(), 0);
  EXPECT_EQ(Resume(name), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(AwaitEnd(*jobs_, name).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobPauseTest, WhileAJobIsPausingItMayEndInOtherWays) {
  const struct {
    absl::Status end;
    v1::JobState state;
    std::string reason;
  } cases[] = {
      {absl::OkStatus(), v1::JOB_STATE_SUCCEEDED, ""},
      {absl::InternalError("NaN"), v1::JOB_STATE_FAILED, "NaN"},
      {absl::CancelledError("stopped"), v1::JOB_STATE_PAUSED, "on request"},
      {absl::UnavailableError("gone"), v1::JOB_STATE_PAUSED, "lost (gone)"}};
  Start();
  for (const auto& [end, state, reason] : cases) {
    const std::string name = StartedJobThatEnds(end);
    EXPECT_EQ(Pause(name), v1::JOB_STATE_PAUSING);
    const v1::Job job = AwaitState(*jobs_, name, v1::JOB_STATE_PAUSED);
    EXPECT_EQ(job.state(), state) << end;
    EXPECT_THAT(job.reason(), HasSubstr(reason));
  }
}

TEST_F(JobPauseTest, WhatAnAttemptStillRecordsWhilePausingIsKept) {
  server_.kind.run = [](JobContext& job) {
    while (!job.cancelled()) std::this_thread::yield();
    const absl::Status recorded = job.RecordItems(0, {"last"}, 2, "items");
    return recorded.ok() ? absl::CancelledError("stopped") : recorded;
  };
  Start();
  const std::string name = NewJob();
  AwaitState(*jobs_, name, v1::JOB_STATE_RUNNING);
  Pause(name);
  const v1::Job paused = AwaitState(*jobs_, name, v1::JOB_STATE_PAUSED);
  EXPECT_EQ(paused.state(), v1::JOB_STATE_PAUSED) << paused.reason();
  EXPECT_THAT(OrDie(server_.store.Items(name)), ElementsAre("last"));
}

TEST_F(JobPauseTest, AWaitingJobWaitsAgainWhenResumed) {
  Make();
  const std::string first = NewJob();
  const std::string second = NewJob({.owner = "ada", .depends_on = {first}});
  const std::string third = NewJob({.owner = "ada", .depends_on = {second}});
  EXPECT_EQ(Pause(second), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(Get(third).state(), v1::JOB_STATE_WAITING);
  EXPECT_THAT(Get(third).queue().waits_for(), HasSubstr("which is PAUSED"));
  EXPECT_EQ(Resume(second), v1::JOB_STATE_WAITING);
  EXPECT_EQ(Pause(second), v1::JOB_STATE_PAUSED);
  ASSERT_TRUE(jobs_->Start().ok());
  AwaitEnd(*jobs_, first);
  EXPECT_EQ(Get(second).state(), v1::JOB_STATE_PAUSED);
  // What it depends on has ended meanwhile.
  EXPECT_EQ(Resume(second), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(AwaitEnd(*jobs_, third).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobPauseTest, WhatItDependsOnMayFailMeanwhile) {
  Make();
  const std::string first = NewJob();
  const std::string second = NewJob({.owner = "ada", .depends_on = {first}});
  Pause(second);
  ASSERT_TRUE(jobs_->Cancel("ada", first).ok());
  EXPECT_EQ(Get(second).state(), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(Resume(second), v1::JOB_STATE_FAILED);
  EXPECT_THAT(Get(second).reason(), HasSubstr(first));
}

TEST_F(JobPauseTest, CancellingReachesPausedAndPausingJobs) {
  Start();
  const std::string pausing = StartedJobThatEnds(absl::CancelledError("x"));
  absl::Notification go_on;
  const std::string paused = NewJob();
  const std::string dependent =
      NewJob({.owner = "ada", .depends_on = {paused}});
  Pause(paused);
  const v1::Job cancelled = OrDie(jobs_->Cancel("ada", paused));
  EXPECT_EQ(cancelled.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_TRUE(cancelled.has_end_time());
  EXPECT_EQ(Get(dependent).state(), v1::JOB_STATE_FAILED);
  jobs_->Cancel("ada", pausing).IgnoreError();
  AwaitEnd(*jobs_, pausing);  // it runs what is replaced now

  server_.kind.run = [&](JobContext& job) {
    while (!job.cancelled()) std::this_thread::yield();
    go_on.WaitForNotification();
    return absl::CancelledError("stopped");
  };
  const std::string name = NewJob();
  AwaitState(*jobs_, name, v1::JOB_STATE_RUNNING);
  EXPECT_EQ(Pause(name), v1::JOB_STATE_PAUSING);
  EXPECT_EQ(OrDie(jobs_->Cancel("ada", name)).state(),
            v1::JOB_STATE_CANCELLING);
  EXPECT_EQ(jobs_->Pause("ada", name).status().code(), kPrecondition);
  go_on.Notify();
  EXPECT_EQ(AwaitEnd(*jobs_, name).state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(JobPauseTest, RefusalsSayWhatToDo) {
  Make();
  const std::string name = NewJob();
  const absl::Status not_paused = jobs_->Resume("ada", name).status();
  EXPECT_EQ(not_paused.code(), kPrecondition);
  EXPECT_THAT(not_paused.message(),
              AllOf(HasSubstr("QUEUED"), HasSubstr("only a PAUSED job")));
  Pause(name);
  EXPECT_EQ(Pause(name), v1::JOB_STATE_PAUSED);
  const absl::Status retry = jobs_->Retry("ada", name).status();
  EXPECT_EQ(retry.code(), kPrecondition);
  EXPECT_THAT(retry.message(), HasSubstr("resume it"));
  const absl::Status deleted = jobs_->Delete("ada", name);
  EXPECT_EQ(deleted.code(), kPrecondition);
  EXPECT_THAT(deleted.message(), HasSubstr("cancel it first"));
  EXPECT_TRUE(absl::IsNotFound(jobs_->Pause("eve", name).status()));
  EXPECT_TRUE(absl::IsNotFound(jobs_->Resume("eve", name).status()));
  ASSERT_TRUE(jobs_->Cancel("ada", name).ok());
  EXPECT_EQ(jobs_->Pause("ada", name).status().code(), kPrecondition);
  EXPECT_THAT(jobs_->Resume("ada", name).status().message(),
              HasSubstr("retry"));
}

TEST_F(JobPauseTest, PausingMakesNoRoomForMore) {
  Make({.quota =
            [](absl::string_view) {
              v1::Quota quota;
              quota.set_queued_job_count(3);
              return quota;
            },
        .interactive_limit = 1});
  const JobManager::CreateOptions interactive = {
      .owner = "ada", .priority = v1::JOB_PRIORITY_INTERACTIVE};
  Pause(NewJob(interactive));
  EXPECT_TRUE(absl::IsResourceExhausted(
      jobs_->CreateJob(SomeSpec(), interactive).status()));
  Pause(NewJob());
  Pause(NewJob());
  EXPECT_TRUE(absl::IsResourceExhausted(
      jobs_->CreateJob(SomeSpec(), {.owner = "ada"}).status()));
  EXPECT_EQ(OrDie(server_.queue.PendingOf("ada")).queued, 3);
}

TEST_F(JobPauseTest, DrainLeavesAPausingJobPaused) {
  absl::Notification go_on;
  server_.kind.run = [&](JobContext&) {
    go_on.WaitForNotification();
    return absl::CancelledError("late");
  };
  Start();
  const std::string name = NewJob();
  AwaitState(*jobs_, name, v1::JOB_STATE_RUNNING);
  Pause(name);
  jobs_->Drain(absl::ZeroDuration());
  EXPECT_EQ(Get(name).state(), v1::JOB_STATE_PAUSED);
  go_on.Notify();
  jobs_.reset();
  EXPECT_EQ(
      OrDie(server_.store.Get(name, JobStore::Spec::kWithoutData)).job.state(),
      v1::JOB_STATE_PAUSED);
}

TEST_F(JobPauseTest, ManyWhoPauseAndResumeLeaveEachJobWhole) {
  constexpr int64_t kItems = 40;
  server_.kind.run = [](JobContext& job) { return RecordAll(job, kItems); };
  Start({.max_concurrent_jobs = 3});
  std::vector<std::string> names;
  for (int i = 0; i < 6; ++i) names.push_back(NewJob());
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&] {
      for (int round = 0; round < 30; ++round) {
        for (const std::string& name : names) {
          jobs_->Pause("ada", name).IgnoreError();
          jobs_->Resume("ada", name).IgnoreError();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& name : names) {
    // Where the last pause came after the last resume.
    while (!OrDie(jobs_->Get("", name)).has_end_time()) {
      jobs_->Resume("ada", name).IgnoreError();
      std::this_thread::yield();
    }
    const v1::Job job = Get(name);
    EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.reason();
    std::vector<std::string> expected;
    for (int64_t i = 0; i < kItems; ++i) expected.push_back(ItemText(i));
    EXPECT_EQ(OrDie(server_.store.Items(name)), expected);
  }
}

}  // namespace
}  // namespace dissonance
