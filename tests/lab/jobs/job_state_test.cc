#include "src/lab/jobs/job_state.h"

#include <set>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "src/base/utf8.h"

namespace dissonance {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

v1::Job JobIn(v1::JobState state) {
  v1::Job job;
  job.set_name("jobs/x");
  job.set_state(state);
  job.set_reason("before");
  return job;
}

TEST(Transition, AllowsExactlyTheStepsOfAJobsLife) {
  const std::set<std::pair<v1::JobState, v1::JobState>> legal = {
      {v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING},
      {v1::JOB_STATE_QUEUED, v1::JOB_STATE_CANCELLED},
      {v1::JOB_STATE_WAITING, v1::JOB_STATE_QUEUED},
      {v1::JOB_STATE_WAITING, v1::JOB_STATE_FAILED},
      {v1::JOB_STATE_WAITING, v1::JOB_STATE_CANCELLED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_SUCCEEDED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_FAILED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_CANCELLING},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_QUEUED},
      {v1::JOB_STATE_CANCELLING, v1::JOB_STATE_CANCELLED},
      {v1::JOB_STATE_FAILED, v1::JOB_STATE_QUEUED},
      {v1::JOB_STATE_CANCELLED, v1::JOB_STATE_QUEUED},
      {v1::JOB_STATE_FAILED, v1::JOB_STATE_WAITING},
      {v1::JOB_STATE_CANCELLED, v1::JOB_STATE_WAITING},
      {v1::JOB_STATE_QUEUED, v1::JOB_STATE_PAUSED},
      {v1::JOB_STATE_WAITING, v1::JOB_STATE_PAUSED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_PAUSING},
      {v1::JOB_STATE_PAUSING, v1::JOB_STATE_PAUSED},
      {v1::JOB_STATE_PAUSING, v1::JOB_STATE_CANCELLING},
      {v1::JOB_STATE_PAUSING, v1::JOB_STATE_SUCCEEDED},
      {v1::JOB_STATE_PAUSING, v1::JOB_STATE_FAILED},
      {v1::JOB_STATE_PAUSED, v1::JOB_STATE_QUEUED},
      {v1::JOB_STATE_PAUSED, v1::JOB_STATE_WAITING},
      {v1::JOB_STATE_PAUSED, v1::JOB_STATE_CANCELLED},
  };
  int refused = 0;
  for (int from = v1::JobState_MIN; from <= v1::JobState_MAX; ++from) {
    for (int to = v1::JobState_MIN; to <= v1::JobState_MAX; ++to) {
      const auto from_state = static_cast<v1::JobState>(from);
      const auto to_state = static_cast<v1::JobState>(to);
      v1::Job job = JobIn(from_state);
      const absl::Status status = Transition(to_state, "why", kNow, job);
      if (legal.contains({from_state, to_state})) {
        EXPECT_TRUE(status.ok()) << status;
        EXPECT_EQ(job.state(), to_state);
        EXPECT_EQ(job.reason(), "why");
        continue;
      }
      ++refused;
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(status.message(), "jobs/x is " + StateName(from_state) +
                                      " and cannot become " +
                                      StateName(to_state));
      EXPECT_EQ(job.DebugString(), JobIn(from_state).DebugString());
    }
  }
  EXPECT_EQ(refused, 10 * 10 - 24);
}

TEST(Transition, KeepsTimesAndAttempts) {
  v1::Job job = JobIn(v1::JOB_STATE_QUEUED);
  ASSERT_TRUE(Transition(v1::JOB_STATE_RUNNING, "", kNow, job).ok());
  EXPECT_EQ(job.attempt_count(), 1);
  EXPECT_EQ(job.start_time().seconds(), absl::ToUnixSeconds(kNow));
  const absl::Time later = kNow + absl::Seconds(5);
  ASSERT_TRUE(Transition(v1::JOB_STATE_FAILED, "x", later, job).ok());
  EXPECT_EQ(job.end_time().seconds(), absl::ToUnixSeconds(later));
  ASSERT_TRUE(Transition(v1::JOB_STATE_QUEUED, "", later, job).ok());
  EXPECT_FALSE(job.has_end_time());
  ASSERT_TRUE(Transition(v1::JOB_STATE_RUNNING, "", later, job).ok());
  EXPECT_EQ(job.attempt_count(), 2);
  EXPECT_EQ(job.start_time().seconds(), absl::ToUnixSeconds(kNow));
}

TEST(Transition, MakesAnyReasonFitForAMessage) {
  v1::Job job = JobIn(v1::JOB_STATE_RUNNING);
  const std::string reason = "bad \xFF byte " + std::string(20000, '\xC3');
  ASSERT_TRUE(Transition(v1::JOB_STATE_FAILED, reason, kNow, job).ok());
  EXPECT_EQ(FindInvalidUtf8(job.reason()), std::nullopt);
  EXPECT_LT(job.reason().size(), 9000U);
  EXPECT_EQ(job.reason().rfind("bad \xEF\xBF\xBD byte ", 0), 0U);
}

}  // namespace
}  // namespace dissonance
