#include "src/lab/jobs/scheduler.h"

#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace dissonance {
namespace {

constexpr auto kInteractive = v1::JOB_PRIORITY_INTERACTIVE;
constexpr auto kNormal = v1::JOB_PRIORITY_NORMAL;
constexpr auto kBackground = v1::JOB_PRIORITY_BACKGROUND;

class SchedulerTest : public ::testing::Test {
 protected:
  void Queue(const std::string& name, const std::string& owner,
             v1::JobPriority priority = kNormal,
             absl::Duration waited = absl::ZeroDuration()) {
    heads_.push_back({.name = name,
                      .owner = owner,
                      .priority = priority,
                      .queue_time = now_ - waited});
  }
  void Run(const std::string& name, const std::string& owner,
           v1::JobPriority priority = kNormal) {
    running_.push_back({.name = name, .owner = owner, .priority = priority});
  }
  ScheduleStep Next() {
    return Schedule(
        {.heads = heads_,
         .running = running_,
         .now = now_,
         .standing = [this](const std::string& user) { return users_[user]; },
         .memory = [this](const std::string& job) { return memory_[job]; }},
        policy_);
  }
  // The name of the job to start; empty: none.
  std::string Started() {
    const ScheduleStep step = Next();
    return step.start.has_value() ? step.start->name : "";
  }
  std::string Preempted() { return Next().preempt.value_or(""); }

  const absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  std::vector<QueueHead> heads_;
  std::vector<RunningJob> running_;
  std::map<std::string, UserStanding> users_;
  std::map<std::string, DeviceMemory> memory_;
  SchedulePolicy policy_ = {.slot_count = 2, .aging = absl::Hours(1)};
};

TEST_F(SchedulerTest, NothingIsQueued) { EXPECT_EQ(Started(), ""); }

TEST_F(SchedulerTest, TheHigherPriorityGoesFirst) {
  users_["bob"].decayed_seconds = 1000;
  Queue("a", "ada", kNormal);
  Queue("b", "bob", kInteractive);
  EXPECT_EQ(Started(), "b");
}

TEST_F(SchedulerTest, WhoUsedLessOfTheDeviceGoesFirst) {
  users_["ada"].decayed_seconds = 2;
  users_["bob"].decayed_seconds = 1;
  Queue("a", "ada");
  Queue("b", "bob");
  EXPECT_EQ(Started(), "b");
}

TEST_F(SchedulerTest, RunningJobsCountAsUse) {
  Run("running", "ada");
  Queue("a", "ada");
  Queue("b", "bob");
  EXPECT_EQ(Started(), "b");
}

TEST_F(SchedulerTest, TheOlderOfEqualsGoesFirst) {
  Queue("b", "bob");
  Queue("a", "ada");
  EXPECT_EQ(Started(), "a");
}

TEST_F(SchedulerTest, WaitingRaisesThePriorityStepByStep) {
  Queue("old", "ada", kBackground, absl::Minutes(119));
  Queue("b", "bob", kInteractive);
  EXPECT_EQ(Started(), "b");
  users_["bob"].decayed_seconds = 1;
  heads_[0].queue_time -= absl::Minutes(1);
  EXPECT_EQ(Started(), "old");
  EXPECT_EQ(Next().priority, kInteractive);
  EXPECT_EQ(AgedPriority(heads_[0], now_, absl::InfiniteDuration()),
            kBackground);
  // A clock that was set back makes nobody older or younger.
  EXPECT_EQ(AgedPriority(heads_[0], now_ - absl::Hours(100), absl::Hours(1)),
            kBackground);
}

TEST_F(SchedulerTest, AUserAtTheLimitIsPassedOver) {
  Run("running", "ada");
  users_["ada"].running_limit = 1;
  users_["bob"].decayed_seconds = 1000;
  Queue("a", "ada", kInteractive);
  Queue("b", "bob", kBackground);
  EXPECT_EQ(Started(), "b");
  users_["bob"].may_start = false;
  EXPECT_EQ(Started(), "");
}

TEST_F(SchedulerTest, ABackgroundJobMakesRoom) {
  Run("first", "ada", kBackground);
  Run("second", "ada", kBackground);
  Queue("b", "bob", kNormal);
  EXPECT_EQ(Started(), "");
  EXPECT_EQ(Preempted(), "second");
  EXPECT_EQ(Next().preempted_by, "b");
}

TEST_F(SchedulerTest, OneJobMakesRoomAtATime) {
  Run("first", "ada", kBackground);
  Run("second", "ada", kBackground);
  running_[1].is_stopping = true;
  Queue("b", "bob", kInteractive);
  EXPECT_EQ(Preempted(), "");
}

TEST_F(SchedulerTest, BackgroundJobsMakeNoRoomForTheirLike) {
  Run("first", "ada", kBackground);
  Run("second", "ada", kBackground);
  Queue("b", "bob", kBackground);
  EXPECT_EQ(Preempted(), "");
}

TEST_F(SchedulerTest, OthersMakeNoRoom) {
  Run("first", "ada", kNormal);
  Run("second", "ada", kNormal);
  Queue("b", "bob", kInteractive);
  EXPECT_EQ(Preempted(), "");
}

TEST_F(SchedulerTest, NobodyMakesRoomWhileThereIsSome) {
  Run("first", "ada", kBackground);
  Queue("b", "bob", kInteractive);
  EXPECT_EQ(Started(), "b");
  EXPECT_EQ(Preempted(), "");
}

TEST_F(SchedulerTest, JobsThatShareAModelFitTogether) {
  policy_.device_bytes = 10;
  Run("running", "ada");
  running_[0].memory = {{"models/m", 8}};
  Queue("same", "bob");
  memory_["same"] = {{"models/m", 8}};
  EXPECT_EQ(Started(), "same");
  memory_["same"] = {{"models/other", 3}};
  EXPECT_EQ(Started(), "");
  policy_.device_bytes = 11;
  EXPECT_EQ(Started(), "same");
  EXPECT_EQ(Next().memory.at("models/other"), 3);
}

TEST_F(SchedulerTest, NoneThatNeedsMemoryOvertakesOneThatWaitsForIt) {
  policy_.device_bytes = 10;
  Run("running", "ada");
  running_[0].memory = {{"models/m", 6}};
  Queue("large", "bob");
  memory_["large"] = {{"models/large", 9}};
  users_["eve"].decayed_seconds = 1;
  Queue("small", "eve");
  memory_["small"] = {{"models/small", 1}};
  EXPECT_EQ(Started(), "");
  memory_["small"] = {};
  EXPECT_EQ(Started(), "small");
}

TEST_F(SchedulerTest, WhatIsTooLargeForTheDeviceIsTriedAlone) {
  policy_.device_bytes = 10;
  Run("its pipeline", "bob");
  running_[0].place = JobPlace::kPipeline;
  Queue("large", "bob");
  memory_["large"] = {{"models/large", 90}};
  EXPECT_EQ(Started(), "large");
}

TEST_F(SchedulerTest, JobsThatUseNoDeviceHavePlacesOfTheirOwn) {
  Run("first", "ada");
  Run("second", "ada");
  Queue("device", "bob", kInteractive);
  EXPECT_EQ(Started(), "");
  Queue("asks", "bob");
  heads_[1].place = JobPlace::kEndpoint;
  EXPECT_EQ(Started(), "asks");
  Run("asks already", "eve");
  running_[2].place = JobPlace::kEndpoint;
  EXPECT_EQ(Started(), "") << "one slot";
  policy_.endpoint_slot_count = 2;
  EXPECT_EQ(Started(), "asks");
}

TEST_F(SchedulerTest, APipelineCountsInNoLimit) {
  users_["ada"].running_limit = 1;
  Run("pipeline", "ada");
  running_[0].place = JobPlace::kPipeline;
  Queue("stage", "ada");
  EXPECT_EQ(Started(), "stage");
  Run("stage", "ada");
  heads_.clear();
  Queue("other pipeline", "ada");
  heads_[0].place = JobPlace::kPipeline;
  policy_.pipeline_slot_count = 8;
  EXPECT_EQ(Started(), "other pipeline");
  policy_.pipeline_slot_count = 7;
  EXPECT_EQ(Started(), "") << "a quarter of the places at most";
}

TEST_F(SchedulerTest, RoomIsMadeAtTheSamePlaceOnly) {
  Run("asks", "ada", kBackground);
  running_[0].place = JobPlace::kEndpoint;
  Run("first", "ada");
  Run("second", "ada");
  Queue("b", "bob", kInteractive);
  EXPECT_EQ(Preempted(), "");
  heads_[0].place = JobPlace::kEndpoint;
  EXPECT_EQ(Preempted(), "asks");
}

}  // namespace
}  // namespace dissonance
