#include <atomic>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "src/lab/jobs/job_manager.h"
#include "tests/lab/jobs/job_server.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

class JobWatchTest : public ::testing::Test {
 protected:
  std::string NewJob() {
    return OrDie(jobs_->CreateJob(SomeSpec(), {.owner = "ada"})).name();
  }
  // The numbers of all events, as a thread that follows the job sees them.
  std::vector<int64_t> Follow(const std::string& name) {
    std::vector<int64_t> numbers;
    while (true) {
      const int64_t after = numbers.empty() ? 0 : numbers.back();
      const JobEvents news = OrDie(jobs_->WaitForEvents(
          "ada", name, after, absl::Now() + absl::Minutes(1)));
      for (const auto& event : news.events) numbers.push_back(event.number());
      if (news.ended_job.has_value()) {
        EXPECT_EQ(numbers.back(), news.ended_job->last_event_number());
        return numbers;
      }
    }
  }

  TempFolder dir_;
  JobServer server_{dir_.path()};
  std::unique_ptr<JobManager> jobs_ = server_.NewManager();
};

std::vector<int64_t> UpTo(int64_t last) {
  std::vector<int64_t> numbers;
  for (int64_t i = 1; i <= last; ++i) numbers.push_back(i);
  return numbers;
}

TEST_F(JobWatchTest, EveryWatcherSeesEveryEventOnceAndInOrder) {
  server_.kind.run = [](JobContext& job) { return RecordAll(job, 40); };
  const std::string name = NewJob();
  std::vector<std::vector<int64_t>> seen(6);
  std::vector<std::thread> watchers;
  for (auto& numbers : seen) {
    watchers.emplace_back([&] { numbers = Follow(name); });
  }
  ASSERT_TRUE(jobs_->Start().ok());
  for (std::thread& watcher : watchers) watcher.join();
  const int64_t last = OrDie(jobs_->Get("", name)).last_event_number();
  // QUEUED, RUNNING, 20 batches, one output, SUCCEEDED.
  EXPECT_EQ(last, 24);
  for (const auto& numbers : seen) EXPECT_EQ(numbers, UpTo(last));
  EXPECT_EQ(Follow(name), UpTo(last)) << "after the end";
}

TEST_F(JobWatchTest, ASubscriberThatReadsWhenCalledMissesNothing) {
  server_.kind.run = [](JobContext& job) { return RecordAll(job, 40); };
  const std::string name = NewJob();
  ASSERT_TRUE(jobs_->Start().ok());
  absl::Mutex mutex;
  std::vector<int64_t> numbers;
  absl::Notification ended;
  const auto pump = [&] {
    absl::MutexLock lock(&mutex);
    const JobEvents news = OrDie(
        jobs_->ReadEvents("ada", name, numbers.empty() ? 0 : numbers.back()));
    for (const auto& event : news.events) numbers.push_back(event.number());
    if (news.ended_job.has_value() && !ended.HasBeenNotified()) ended.Notify();
  };
  const auto subscription = OrDie(jobs_->Subscribe("ada", name, pump));
  pump();
  ended.WaitForNotification();
  absl::MutexLock lock(&mutex);
  EXPECT_EQ(numbers, UpTo(24));
}

TEST_F(JobWatchTest, ADroppedWatcherGoesOnWhereItWas) {
  const std::string name = NewJob();
  ASSERT_TRUE(jobs_->Start().ok());
  AwaitEnd(*jobs_, name);
  const JobEvents rest = OrDie(jobs_->ReadEvents("ada", name, 3));
  ASSERT_FALSE(rest.events.empty());
  EXPECT_EQ(rest.events.front().number(), 4);
  ASSERT_TRUE(rest.ended_job.has_value());
  EXPECT_EQ(rest.ended_job->state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(rest.ended_job->outputs_size(), 1);
}

TEST_F(JobWatchTest, AWatcherMayStopWaiting) {
  const std::string name = NewJob();
  EXPECT_EQ(jobs_->WaitForEvents("ada", name, 1, absl::InfinitePast())
                .status()
                .code(),
            absl::StatusCode::kDeadlineExceeded);
  std::stop_source stop;
  std::thread stopper([&] { stop.request_stop(); });
  EXPECT_EQ(jobs_
                ->WaitForEvents("ada", name, 1, absl::InfiniteFuture(),
                                stop.get_token())
                .status()
                .code(),
            absl::StatusCode::kCancelled);
  stopper.join();
}

TEST_F(JobWatchTest, AWatcherLearnsThatItsJobWasDeleted) {
  const std::string name = NewJob();
  const v1::Job job = OrDie(jobs_->Cancel("ada", name));
  std::atomic<int> calls = 0;
  const auto subscription =
      OrDie(jobs_->Subscribe("ada", name, [&] { ++calls; }));
  ASSERT_TRUE(jobs_->Delete("ada", name).ok());
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(jobs_->ReadEvents("ada", name, 0).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(JobWatchTest, ReadsManyEventsInBoundedPieces) {
  const std::string name = NewJob();
  OrDie(server_.store.Update(name, absl::Now(), [](JobChange& change) {
    for (int i = 0; i < 1100; ++i) change.events.emplace_back().set_log("x");
    return absl::OkStatus();
  }));
  OrDie(jobs_->Cancel("ada", name));
  const JobEvents first = OrDie(jobs_->ReadEvents("ada", name, 0));
  EXPECT_EQ(first.events.size(), 1000U);
  EXPECT_FALSE(first.ended_job.has_value());
  EXPECT_EQ(Follow(name), UpTo(1103));
}

}  // namespace
}  // namespace dissonance
