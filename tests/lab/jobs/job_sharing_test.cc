// Jobs of several users, jobs that depend on others, and jobs that make room.
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/jobs/job_manager.h"
#include "tests/lab/jobs/job_server.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class JobSharingTest : public ::testing::Test {
 protected:
  void Start(JobManager::Options options = {}) {
    Make(std::move(options));
    ASSERT_TRUE(jobs_->Start().ok());
  }
  void Make(JobManager::Options options = {}) {
    options.initial_backoff = absl::Milliseconds(1);
    options.ledger = ledger_.get();
    jobs_ = server_.NewManager(std::move(options));
  }
  std::string NewJob(const JobManager::CreateOptions& options) {
    return OrDie(jobs_->CreateJob(SomeSpec(), options)).name();
  }
  v1::JobState StateOf(const std::string& name) {
    return OrDie(jobs_->Get("", name)).state();
  }
  // Runs until the job is stopped, recording an item at each look.
  static absl::Status RunUntilStopped(JobContext& job) {
    auto i = static_cast<int64_t>(OrDie(job.RecordedItems()).size());
    for (; !job.cancelled(); ++i) {
      RETURN_IF_ERROR(job.RecordItems(i, {ItemText(i)}, i + 1, "items"));
    }
    return absl::CancelledError("stopped");
  }

  TempFolder dir_;
  JobServer server_{dir_.path()};
  std::unique_ptr<UsageLedger> ledger_ =
      OrDie(UsageLedger::Load(server_.users, Clock::Real(), absl::Hours(24)));
  std::unique_ptr<JobManager> jobs_;
};

TEST_F(JobSharingTest, AnotherUsersFirstJobStartsWithinOneJobsTime) {
  absl::Mutex mutex;
  std::vector<std::string> order;
  server_.kind.run = [&](JobContext& job) {
    job.spend().Add(0.5, 10);
    const absl::MutexLock lock(&mutex);
    order.push_back(job.job().owner());
    return absl::OkStatus();
  };
  Make();
  jobs_->SetComputeReady(false);
  ASSERT_TRUE(jobs_->Start().ok());
  for (int i = 0; i < 300; ++i) NewJob({.owner = "ada"});
  const std::string bobs = NewJob({.owner = "bob"});
  jobs_->SetComputeReady(true);
  AwaitEnd(*jobs_, bobs);
  jobs_.reset();
  const absl::MutexLock lock(&mutex);
  const auto place = std::find(order.begin(), order.end(), "users/bob");
  EXPECT_LE(place - order.begin(), 1);
}

TEST_F(JobSharingTest, AnInteractiveJobTakesABackgroundJobsPlace) {
  std::atomic<bool> background_may_end = false;
  server_.kind.run = [&](JobContext& job) -> absl::Status {
    const bool is_background =
        job.job().priority() == v1::JOB_PRIORITY_BACKGROUND;
    if (is_background && !background_may_end) return RunUntilStopped(job);
    return absl::OkStatus();
  };
  Start();
  const std::string background =
      NewJob({.owner = "ada", .priority = v1::JOB_PRIORITY_BACKGROUND});
  AwaitState(*jobs_, background, v1::JOB_STATE_RUNNING);
  const std::string interactive =
      NewJob({.owner = "bob", .priority = v1::JOB_PRIORITY_INTERACTIVE});
  EXPECT_EQ(AwaitEnd(*jobs_, interactive).state(), v1::JOB_STATE_SUCCEEDED);
  background_may_end = true;
  const std::string third =
      NewJob({.owner = "bob", .priority = v1::JOB_PRIORITY_INTERACTIVE});
  const v1::Job job = AwaitEnd(*jobs_, background);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.retry_count(), 0);
  std::string log;
  for (const auto& event :
       OrDie(server_.store.Events(background, 0, 1'000'000)).events) {
    log += event.log();
  }
  EXPECT_THAT(log, HasSubstr("pre-emption by " + interactive));
}

TEST_F(JobSharingTest, ADependentJobRunsAfterAllThatItNeeds) {
  absl::Notification go_on;
  server_.kind.run = [&](JobContext&) {
    go_on.WaitForNotification();
    return absl::OkStatus();
  };
  Start({.max_concurrent_jobs = 2});
  const std::string first = NewJob({.owner = "ada"});
  const std::string second = NewJob({.owner = "ada"});
  const std::string last =
      NewJob({.owner = "ada", .depends_on = {first, second}});
  const v1::Job waiting = OrDie(jobs_->Get("ada", last));
  EXPECT_EQ(waiting.state(), v1::JOB_STATE_WAITING);
  EXPECT_THAT(waiting.depends_on(), ElementsAre(first, second));
  EXPECT_THAT(waiting.queue().waits_for(), HasSubstr(first));
  go_on.Notify();
  EXPECT_EQ(AwaitEnd(*jobs_, last).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(StateOf(first), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(StateOf(second), v1::JOB_STATE_SUCCEEDED);
  // What has succeeded already is no reason to wait.
  EXPECT_EQ(OrDie(jobs_->CreateJob(SomeSpec(),
                                   {.owner = "ada", .depends_on = {first}}))
                .state(),
            v1::JOB_STATE_QUEUED);
}

TEST_F(JobSharingTest, AFailureReachesAllThatWaitForIt) {
  std::atomic<bool> broken = true;
  absl::Notification go_on;
  server_.kind.run = [&](JobContext&) {
    go_on.WaitForNotification();
    return broken ? absl::InternalError("broken") : absl::OkStatus();
  };
  Start();
  const std::string first = NewJob({.owner = "ada"});
  const std::string second = NewJob({.owner = "ada", .depends_on = {first}});
  const std::string third = NewJob({.owner = "ada", .depends_on = {second}});
  go_on.Notify();
  const v1::Job failed = AwaitEnd(*jobs_, third);
  EXPECT_EQ(failed.state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(failed.reason(), HasSubstr(second));
  EXPECT_THAT(OrDie(jobs_->Get("ada", second)).reason(), HasSubstr("broken"));
  // Retried from the last to the first, they run in their order.
  broken = false;
  EXPECT_EQ(OrDie(jobs_->Retry("ada", third)).state(), v1::JOB_STATE_FAILED);
  ASSERT_TRUE(jobs_->Retry("ada", first).ok());
  AwaitEnd(*jobs_, first);
  ASSERT_TRUE(jobs_->Retry("ada", second).ok());
  AwaitEnd(*jobs_, second);
  ASSERT_TRUE(jobs_->Retry("ada", third).ok());
  EXPECT_EQ(AwaitEnd(*jobs_, third).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobSharingTest, ManyLayersOfDependenciesAreSettledOnce) {
  absl::Notification go_on;
  server_.kind.run = [&](JobContext& job) {
    if (job.job().spec().evaluate_mcq().seed() == 1) {
      go_on.WaitForNotification();
    }
    return absl::OkStatus();
  };
  Start({.max_concurrent_jobs = 2});
  const std::string slow =
      OrDie(jobs_->CreateJob(SomeSpec(/*seed=*/1), {.owner = "ada"})).name();
  AwaitState(*jobs_, slow, v1::JOB_STATE_RUNNING);
  const std::string quick = NewJob({.owner = "ada"});
  std::vector<std::string> layer = {slow, quick};
  // Each job depends on both of the layer before: 2^30 paths, all of whose
  // jobs still wait when the quick one has ended.
  for (int i = 0; i < 30; ++i) {
    layer = {NewJob({.owner = "ada", .depends_on = layer}),
             NewJob({.owner = "ada", .depends_on = layer})};
  }
  AwaitEnd(*jobs_, quick);
  go_on.Notify();
  EXPECT_EQ(AwaitEnd(*jobs_, layer[0]).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(AwaitEnd(*jobs_, layer[1]).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobSharingTest, WhoMayNoLongerRunAJobIsTold) {
  Start({.may_run = [](absl::string_view user, const v1::JobSpec&) {
    return user == "ada" ? absl::NotFoundError("no model models/x")
                         : absl::OkStatus();
  }});
  const v1::Job refused = AwaitEnd(*jobs_, NewJob({.owner = "ada"}));
  EXPECT_EQ(refused.state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(refused.reason(), HasSubstr("models/x"));
  EXPECT_EQ(AwaitEnd(*jobs_, NewJob({.owner = "bob"})).state(),
            v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobSharingTest, NobodyFillsTheQueueWithInteractiveJobs) {
  Make({.interactive_limit = 2});
  const JobManager::CreateOptions interactive = {
      .owner = "ada", .priority = v1::JOB_PRIORITY_INTERACTIVE};
  NewJob(interactive);
  NewJob(interactive);
  EXPECT_EQ(jobs_->CreateJob(SomeSpec(), interactive).status().code(),
            absl::StatusCode::kResourceExhausted);
  NewJob({.owner = "ada"});
}

TEST_F(JobSharingTest, CancellingAJobEndsThoseThatWaitForIt) {
  Make();
  jobs_->SetComputeReady(false);
  ASSERT_TRUE(jobs_->Start().ok());
  const std::string first = NewJob({.owner = "ada"});
  const std::string second = NewJob({.owner = "ada", .depends_on = {first}});
  ASSERT_TRUE(jobs_->Cancel("ada", first).ok());
  EXPECT_EQ(StateOf(second), v1::JOB_STATE_FAILED);
}

TEST_F(JobSharingTest, TheNextStartSettlesWhatACrashLeftWaiting) {
  Make();
  const std::string first = NewJob({.owner = "ada"});
  const std::string second = NewJob({.owner = "ada", .depends_on = {first}});
  // As after a crash: the end is stored, what follows from it is not.
  const auto end = [](JobChange& change) {
    change.stored.job.set_state(v1::JOB_STATE_SUCCEEDED);
    change.stored.job.mutable_end_time()->set_seconds(1);
    return absl::OkStatus();
  };
  ASSERT_TRUE(server_.store.Update(first, absl::Now(), end).ok());
  EXPECT_EQ(StateOf(second), v1::JOB_STATE_WAITING);
  ASSERT_TRUE(jobs_->Start().ok());
  EXPECT_EQ(AwaitEnd(*jobs_, second).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobSharingTest, DependsOnOwnJobsOnly) {
  Make();
  const std::string adas = NewJob({.owner = "ada"});
  const absl::Status foreign =
      jobs_->CreateJob(SomeSpec(), {.owner = "bob", .depends_on = {adas}})
          .status();
  EXPECT_EQ(foreign.code(), absl::StatusCode::kNotFound) << foreign;
  EXPECT_EQ(jobs_
                ->CreateJob(SomeSpec(),
                            {.owner = "ada",
                             .depends_on = std::vector<std::string>(65, adas)})
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(JobSharingTest, AQuotaBoundsWhatAUserQueuesAndRuns) {
  absl::Notification go_on;
  server_.kind.run = [&](JobContext& job) {
    if (job.job().owner() == "users/ada") go_on.WaitForNotification();
    job.spend().Add(1.0, 1);
    return absl::OkStatus();
  };
  Make({.quota =
            [](absl::string_view user) {
              v1::Quota quota;
              if (user == "ada") quota.set_queued_job_count(3);
              if (user == "eve") quota.set_device_seconds_per_week(2);
              if (user != "bob") quota.set_running_job_count(1);
              return quota;
            },
        .max_concurrent_jobs = 4});
  jobs_->SetComputeReady(false);
  ASSERT_TRUE(jobs_->Start().ok());
  std::vector<std::string> adas;
  for (int i = 0; i < 3; ++i) adas.push_back(NewJob({.owner = "ada"}));
  const absl::Status refused =
      jobs_->CreateJob(SomeSpec(), {.owner = "ada"}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  std::vector<std::string> eves;
  for (int i = 0; i < 4; ++i) eves.push_back(NewJob({.owner = "eve"}));
  jobs_->SetComputeReady(true);
  for (int i = 0; i < 2; ++i) AwaitEnd(*jobs_, eves[i]);
  // Whatever may start goes before this one.
  AwaitEnd(*jobs_,
           NewJob({.owner = "bob", .priority = v1::JOB_PRIORITY_BACKGROUND}));
  EXPECT_EQ(StateOf(adas[0]), v1::JOB_STATE_RUNNING);
  for (const auto& [name, why] : {std::pair(adas[1], "as many jobs"),
                                  std::pair(eves[2], "week's quota")}) {
    const v1::Job job = OrDie(jobs_->Get("", name));
    EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
    EXPECT_THAT(job.queue().waits_for(), HasSubstr(why));
  }
  EXPECT_EQ(ledger_->Of("eve").week_seconds, 2.0);
  go_on.Notify();
  for (const std::string& name : adas) AwaitEnd(*jobs_, name);
}

TEST_F(JobSharingTest, MaintenanceStartsNothingAndSendsRunningJobsBack) {
  std::atomic<bool> ends = false;
  server_.kind.run = [&](JobContext& job) {
    return ends ? absl::OkStatus() : RunUntilStopped(job);
  };
  Start();
  const std::string name = NewJob({.owner = "ada"});
  AwaitState(*jobs_, name, v1::JOB_STATE_RUNNING);
  jobs_->SetMaintenance("new disk", /*stop=*/true);
  while (StateOf(name) != v1::JOB_STATE_QUEUED) std::this_thread::yield();
  EXPECT_THAT(OrDie(jobs_->Get("ada", name)).queue().waits_for(),
              HasSubstr("new disk"));
  ends = true;
  jobs_->SetMaintenance("", false);
  EXPECT_EQ(AwaitEnd(*jobs_, name).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobSharingTest, DrainWaitsForEachJobsCheckpoint) {
  // The second stops well after the first, at its own time.
  std::atomic<int> stopped = 0;
  server_.kind.run = [&](JobContext& job) -> absl::Status {
    const bool is_second = job.job().spec().evaluate_mcq().seed() == 2;
    while (!job.cancelled()) std::this_thread::yield();
    while (is_second && stopped == 0) std::this_thread::yield();
    for (int i = 0; is_second && i < 1000; ++i) std::this_thread::yield();
    const absl::Status recorded = job.RecordItems(0, {ItemText(0)}, 2, "items");
    ++stopped;
    return recorded.ok() ? absl::CancelledError("stopped") : recorded;
  };
  Start({.max_concurrent_jobs = 2});
  std::vector<std::string> names;
  for (const uint64_t seed : {1, 2}) {
    names.push_back(
        OrDie(jobs_->CreateJob(SomeSpec(seed), {.owner = "ada"})).name());
    AwaitState(*jobs_, names.back(), v1::JOB_STATE_RUNNING);
  }
  jobs_->Drain(absl::Hours(1));
  for (const std::string& name : names) {
    const v1::Job job = OrDie(jobs_->Get("ada", name));
    EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(job.progress().done_count(), 1) << name;
  }
  jobs_.reset();
}

TEST_F(JobSharingTest, AReplayIsComparedFileByFile) {
  std::atomic<int> runs = 0;
  server_.kind.run = [&](JobContext& job) -> absl::Status {
    job.spend().Add(0.25, 7);
    v1::Provenance provenance;
    provenance.set_model_digest(runs < 2 ? "sha256:1" : "sha256:2");
    RETURN_IF_ERROR(job.SetProvenance({provenance}));
    RETURN_IF_ERROR(job.AddOutput("run.json", "application/json",
                                  job.job().name(), OutputKind::kNamesRun));
    return job.AddOutput("result.txt", "text/plain",
                         ++runs < 3 ? "same" : "other", OutputKind::kResult);
  };
  Start({.code_version = "1.2.3"});
  const std::string first = NewJob({.owner = "ada"});
  const v1::Job done = AwaitEnd(*jobs_, first);
  EXPECT_EQ(done.code_version(), "1.2.3");
  EXPECT_EQ(done.usage().device_seconds(), 0.25);
  EXPECT_EQ(done.usage().token_count(), 7);
  ASSERT_EQ(done.inputs_size(), 1);
  EXPECT_EQ(done.inputs(0).field(), "evaluate_mcq.data");
  EXPECT_EQ(done.inputs(0).size_bytes(), 5);
  const std::string again =
      OrDie(jobs_->Replay("ada", first, {.owner = "ada"})).name();
  EXPECT_EQ(AwaitEnd(*jobs_, again).replay_of(), first);
  const auto same = OrDie(jobs_->Compare("ada", first, again));
  EXPECT_TRUE(same.same_outputs()) << same.DebugString();
  EXPECT_EQ(same.inputs_size(), 0);
  EXPECT_EQ(same.provenance_size(), 0);
  ASSERT_EQ(same.outputs_size(), 2);
  EXPECT_TRUE(same.outputs(0).equal());
  EXPECT_TRUE(same.outputs(1).names_run());
  EXPECT_FALSE(same.outputs(1).equal());
  const std::string other =
      OrDie(jobs_->Replay("ada", first, {.owner = "ada"})).name();
  AwaitEnd(*jobs_, other);
  const auto differs = OrDie(jobs_->Compare("ada", first, other));
  EXPECT_FALSE(differs.same_outputs());
  ASSERT_EQ(differs.provenance_size(), 1);
  EXPECT_EQ(differs.provenance(0).field(), "provenance[0].model_digest");
  EXPECT_THAT(differs.provenance(0).second(), HasSubstr("sha256:2"));
  EXPECT_EQ(jobs_->Replay("bob", first, {.owner = "bob"}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(JobSharingTest, DataMayBeAnArtifact) {
  const v1::Artifact artifact = OrDie(server_.artifacts->Put(
      "questions", "application/jsonl", {.user = "ada"}));
  std::string seen;
  server_.kind.run_spec = [&](const v1::JobSpec& spec) {
    seen = spec.evaluate_mcq().data();
  };
  Start();
  v1::JobSpec spec = SomeSpec();
  spec.mutable_evaluate_mcq()->set_data_artifact(artifact.name());
  const absl::Status both = jobs_->CreateJob(spec, {.owner = "ada"}).status();
  EXPECT_EQ(both.code(), absl::StatusCode::kInvalidArgument) << both;
  spec.mutable_evaluate_mcq()->clear_data();
  const v1::Job job = OrDie(jobs_->CreateJob(spec, {.owner = "ada"}));
  EXPECT_EQ("artifacts/" + job.inputs(0).digest(), artifact.name());
  EXPECT_EQ(AwaitEnd(*jobs_, job.name()).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(seen, "questions");
  EXPECT_EQ(OrDie(jobs_->Get("ada", job.name())).spec().evaluate_mcq().data(),
            "");
}

}  // namespace
}  // namespace dissonance
