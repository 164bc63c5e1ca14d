// The checks of the long runs find what they look for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/jobs.pb.h"
#include "tests/endurance/job_checks.h"
#include "tests/endurance/job_mix.h"
#include "tests/endurance/process_figures.h"
#include "tests/endurance/report.h"
#include "tests/endurance/soak.h"
#include "tests/endurance/soak_calls.h"
#include "tests/endurance/statistics.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(StatisticsTest, PercentilesAreValuesThatWereMeasured) {
  EXPECT_EQ(Percentile({3, 1, 2, 4}, 0.5), 2);
  EXPECT_EQ(Percentile({3, 1, 2, 4}, 0.99), 4);
  EXPECT_EQ(Percentile({3}, 0.01), 3);
  EXPECT_EQ(Percentile({}, 0.5), 0);
}

TEST(StatisticsTest, TheSlopeIsThatOfMostPointsWhateverTheOutliers) {
  EXPECT_EQ(TheilSenSlope({0, 1, 2, 3, 4, 5, 6}, {1, 3, 5, 7, 900, 11, 13}), 2);
  EXPECT_EQ(TheilSenSlope({1}, {1}), 0);
}

std::vector<double> Line(double start, double step, int count) {
  std::vector<double> values;
  for (int i = 0; i < count; ++i) values.push_back(start + step * i);
  return values;
}

TEST(GrowthTest, MemoryMayGrowByItsShareAndNoMore) {
  const std::vector<double> seconds = Line(0, 10, 101);
  constexpr double kMib = 1 << 20;
  // 2 % of about 100 MiB, and 8 MiB.
  EXPECT_TRUE(
      GrowthOfMemory(seconds, Line(100 * kMib, 0.09 * kMib, 101)).is_flat);
  EXPECT_FALSE(
      GrowthOfMemory(seconds, Line(100 * kMib, 0.12 * kMib, 101)).is_flat);
  EXPECT_TRUE(GrowthOfMemory(seconds, Line(100 * kMib, -kMib, 101)).is_flat);
}

TEST(GrowthTest, CountsMayWanderButNotClimb) {
  const std::vector<double> seconds = Line(0, 10, 101);
  EXPECT_TRUE(GrowthOfCount(seconds, Line(50, 0.07, 101)).is_flat);
  const Growth growth = GrowthOfCount(seconds, Line(50, 0.1, 101));
  EXPECT_FALSE(growth.is_flat);
  EXPECT_NEAR(growth.per_hour, 36, 1e-6);
  EXPECT_NEAR(growth.over_span, 10, 1e-6);
}

// A job with events of these states, and one of progress after each RUNNING.
struct Told {
  v1::Job job;
  std::vector<v1::JobEvent> events;

  explicit Told(const std::vector<v1::JobState>& states) {
    for (const v1::JobState state : states) {
      Add().set_state(state);
      if (state != v1::JOB_STATE_RUNNING) continue;
      job.set_attempt_count(job.attempt_count() + 1);
      job.mutable_progress()->set_done_count(job.progress().done_count() + 2);
      *Add().mutable_progress() = job.progress();
    }
    job.mutable_progress()->set_total_count(job.progress().done_count());
    job.set_state(states.back());
    job.set_last_event_number(static_cast<int64_t>(events.size()));
  }
  v1::JobEvent& Add() {
    v1::JobEvent& event = events.emplace_back();
    event.set_number(static_cast<int64_t>(events.size()));
    return event;
  }
  std::vector<std::string> Faults() const {
    return FindEventFaults(job, events);
  }
};

std::vector<v1::JobState> Resumed() {
  return {v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING, v1::JOB_STATE_QUEUED,
          v1::JOB_STATE_RUNNING, v1::JOB_STATE_SUCCEEDED};
}

TEST(FindEventFaultsTest, FindsNoneInAResumedJobAndARetriedOne) {
  EXPECT_THAT(Told(Resumed()).Faults(), IsEmpty());
  EXPECT_THAT(Told({v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING,
                    v1::JOB_STATE_CANCELLING, v1::JOB_STATE_CANCELLED,
                    v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING,
                    v1::JOB_STATE_SUCCEEDED})
                  .Faults(),
              IsEmpty());
}

TEST(FindEventFaultsTest, FindsGapsAndLostEvents) {
  Told gap(Resumed());
  gap.events.erase(gap.events.begin() + 1);
  EXPECT_THAT(gap.Faults(), Contains(HasSubstr("is in place 2")));
  Told lost(Resumed());
  lost.job.set_last_event_number(8);
  EXPECT_THAT(lost.Faults(),
              ElementsAre(HasSubstr("7 events, but last_event_number 8")));
}

TEST(FindEventFaultsTest, FindsASecondEndAndAJobThatNeverEnds) {
  EXPECT_THAT(Told({v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING,
                    v1::JOB_STATE_SUCCEEDED, v1::JOB_STATE_FAILED})
                  .Faults(),
              ElementsAre(HasSubstr("FAILED after JOB_STATE_SUCCEEDED")));
  EXPECT_THAT(Told({v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING}).Faults(),
              Contains(HasSubstr("its events end with JOB_STATE_RUNNING")));
}

TEST(FindEventFaultsTest, FindsAStartThatIsNoAttempt) {
  Told told(Resumed());
  told.job.set_attempt_count(1);
  EXPECT_THAT(told.Faults(),
              ElementsAre(HasSubstr("2 starts, but attempt_count 1")));
}

TEST(FindEventFaultsTest, FindsItemsRecordedTwiceOrMissing) {
  Told twice(Resumed());
  twice.events[4].mutable_progress()->set_done_count(2);
  EXPECT_THAT(twice.Faults(), Contains(HasSubstr("progress 2 after 2")));
  Told missing(Resumed());
  missing.job.mutable_progress()->set_total_count(5);
  EXPECT_THAT(missing.Faults(), ElementsAre(HasSubstr("the job 4 of 5")));
}

TEST(SoakLedgerTest, AReplyThatDiffersFromTheFirstIsAFault) {
  SoakLedger ledger;
  EXPECT_TRUE(ledger.Compare("a", "1").ok());
  EXPECT_TRUE(ledger.Compare("a", "1").ok());
  EXPECT_TRUE(ledger.Compare("b", "2").ok());
  const absl::Status differs = ledger.Compare("a", "2");
  EXPECT_TRUE(absl::IsDataLoss(differs)) << differs;
  ledger.Count("kind", differs);
  ledger.Count("kind", absl::OkStatus());
  EXPECT_EQ(ledger.tallies().at("kind").failed, 1);
  EXPECT_THAT(ledger.failures(), ElementsAre(HasSubstr("kind: DATA_LOSS")));
}

TEST(CallKindsTest, AreAllOrThoseWithTheNames) {
  const auto names = [](const std::vector<CallKind>& kinds) {
    std::vector<std::string> out;
    for (const CallKind& kind : kinds) out.push_back(kind.name);
    return out;
  };
  EXPECT_EQ(names(CallKindsNamed({})), names(CallKinds()));
  EXPECT_THAT(names(CallKindsNamed({"adapter churn", "Score"})),
              ElementsAre("Score", "adapter churn"));
}

TEST(JobMixTest, HoldsEveryKindScoringPriorityAndFate) {
  std::vector<int> scorings(7);
  std::vector<int> priorities(4);
  std::vector<int> fates(3);
  int probes_count = 0;
  int sweep_count = 0;
  int follower_count = 0;
  const std::vector<PlannedJob> mix = JobMix(40, /*with_dependencies=*/true);
  for (const PlannedJob& job : mix) {
    ++scorings[job.spec.evaluate_mcq().scoring()];
    probes_count += job.spec.has_train_probes() ? 1 : 0;
    sweep_count += job.spec.has_steering_sweep() ? 1 : 0;
    ++priorities[job.priority];
    ++fates[static_cast<size_t>(job.fate)];
    follower_count += job.follows ? 1 : 0;
  }
  scorings.erase(scorings.begin());
  priorities.erase(priorities.begin());
  EXPECT_THAT(scorings, ::testing::Each(::testing::Ge(3)));
  EXPECT_THAT(priorities, ::testing::Each(::testing::Ge(3)));
  EXPECT_THAT(fates, ::testing::Each(::testing::Ge(3)));
  EXPECT_GE(probes_count, 3);
  EXPECT_GE(sweep_count, 3);
  EXPECT_GE(follower_count, 3);
  EXPECT_FALSE(mix.front().follows);
}

TEST(ProcessFiguresTest, SeesThisProcessAndNoneThatIsNotThere) {
  const auto own = FiguresOf(::getpid());
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_GT(own->resident_bytes, 1 << 20);
  EXPECT_GE(own->handle_count, 3);
  EXPECT_GE(own->thread_count, 1);
  EXPECT_TRUE(absl::IsNotFound(FiguresOf(-1).status()));
  EXPECT_THAT(WorkersOn("no-such-folder"), IsEmpty());
}

TEST(ReportTest, ShowsFiguresInOrderAndEveryViolation) {
  Report report{.name = "run"};
  report.Add("z", 1);
  report.Add("a", "two");
  report.violations.push_back("jobs/x is lost");
  EXPECT_THAT(report.ToMarkdown(),
              HasSubstr("| z | 1 |\n| a | two |\n| violations | 1 |\n\n"
                        "violation: jobs/x is lost"));
  EXPECT_EQ(report.ToJson()["violations"][0], "jobs/x is lost");
}

}  // namespace
}  // namespace dissonance
