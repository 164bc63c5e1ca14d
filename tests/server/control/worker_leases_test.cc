#include "server/control/worker_leases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "server/control/worker_state.h"
#include "src/base/file.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Monotonic time that a test moves; wall time that jumps.
class FakeClock : public Clock {
 public:
  absl::Time Now() const override { return wall_; }
  absl::Duration Monotonic() const override { return monotonic_; }
  void Advance(absl::Duration span) { monotonic_ += span; }
  void JumpWall(absl::Duration span) { wall_ += span; }

 private:
  absl::Time wall_ = absl::UnixEpoch() + absl::Hours(24 * 365 * 50);
  absl::Duration monotonic_ = absl::Seconds(1000);
};

class WorkerLeasesTest : public ::testing::Test {
 protected:
  Lease Register() {
    const Lease launch = *leases_.Issue();
    return *leases_.Register(launch.id, {.address = "unix:/x", .pid = 7});
  }
  FencingNumbers& Numbers() {
    if (numbers_ == nullptr) {
      EXPECT_TRUE(WriteFileAtomically(folder_.File("fencing"), "41\n").ok());
      numbers_ = *FencingNumbers::Open(folder_.File("fencing"));
    }
    return *numbers_;
  }

  const TempFolder folder_;
  FakeClock clock_;
  std::unique_ptr<FencingNumbers> numbers_;
  WorkerLeases leases_{
      {.heartbeat_interval = absl::Seconds(1), .hang_limit = absl::Seconds(60)},
      Numbers(),
      clock_};
};

TEST_F(WorkerLeasesTest, ATokenRegistersOnce) {
  const Lease launch = *leases_.Issue();
  EXPECT_EQ(launch.fencing_number, 42);
  EXPECT_FALSE(leases_.holder().has_value());
  EXPECT_TRUE(absl::IsPermissionDenied(leases_.Register("", {}).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(leases_.Register("x", {}).status()));
  ASSERT_TRUE(leases_.Register(launch.id, {.pid = 7}).ok());
  EXPECT_EQ(leases_.holder()->identity.pid, 7);
  EXPECT_TRUE(
      absl::IsPermissionDenied(leases_.Register(launch.id, {}).status()));
}

TEST_F(WorkerLeasesTest, ALaterLeaseFencesTheEarlierOneOff) {
  const Lease old = Register();
  ASSERT_TRUE(leases_.Beat(old.id, old.fencing_number, {}).ok());
  const Lease next = Register();
  EXPECT_GT(next.fencing_number, old.fencing_number);
  EXPECT_TRUE(
      absl::IsFailedPrecondition(leases_.Beat(old.id, old.fencing_number, {})));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      leases_.Beat(next.id, old.fencing_number, {})));
  EXPECT_TRUE(leases_.Beat(next.id, next.fencing_number, {}).ok());
}

TEST_F(WorkerLeasesTest, ALaterRunOfTheSameLaunchTakesTheLease) {
  const Lease launch = *leases_.Issue();
  const Lease first = *leases_.Register(launch.id, {.restart_count = 0});
  EXPECT_EQ(first.fencing_number, launch.fencing_number);
  const Lease second = *leases_.Register(launch.id, {.restart_count = 1});
  EXPECT_GT(second.fencing_number, first.fencing_number);
  EXPECT_FALSE(leases_.Holds(first.id));
  EXPECT_TRUE(leases_.Holds(second.id));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      leases_.Beat(first.id, first.fencing_number, {})));
  EXPECT_TRUE(leases_.Beat(second.id, second.fencing_number, {}).ok());
  // The stale run does not get it back.
  EXPECT_TRUE(absl::IsPermissionDenied(
      leases_.Register(launch.id, {.restart_count = 0}).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(
      leases_.Register(launch.id, {.restart_count = 1}).status()));
}

TEST_F(WorkerLeasesTest, ASuspendedLeaseIsForALaterRunARevokedOneForNobody) {
  const Lease launch = *leases_.Issue();
  const Lease first = *leases_.Register(launch.id, {.restart_count = 0});
  leases_.Suspend();
  EXPECT_FALSE(leases_.holder().has_value());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      leases_.Beat(first.id, first.fencing_number, {})));
  ASSERT_TRUE(leases_.Register(launch.id, {.restart_count = 1}).ok());
  leases_.Revoke();
  EXPECT_TRUE(absl::IsPermissionDenied(
      leases_.Register(launch.id, {.restart_count = 2}).status()));
}

TEST_F(WorkerLeasesTest, NumbersGrowOverRestartsOfTheServer) {
  const Lease launch = *leases_.Issue();
  const auto later = *FencingNumbers::Open(folder_.File("fencing"));
  EXPECT_EQ(*later->Next(), launch.fencing_number + 1);
  ASSERT_TRUE(WriteFileAtomically(folder_.File("fencing"), "many\n").ok());
  const absl::Status damaged =
      FencingNumbers::Open(folder_.File("fencing")).status();
  EXPECT_TRUE(absl::IsDataLoss(damaged)) << damaged;
}

TEST_F(WorkerLeasesTest, ARevokedLeaseIsRefused) {
  const Lease lease = Register();
  leases_.Revoke();
  EXPECT_TRUE(absl::IsFailedPrecondition(
      leases_.Beat(lease.id, lease.fencing_number, {})));
  EXPECT_FALSE(leases_.holder().has_value());
  EXPECT_THAT(leases_.Ailment(), IsEmpty());
}

TEST_F(WorkerLeasesTest, FourMissedBeatsEndTheLease) {
  const Lease lease = Register();
  clock_.Advance(absl::Seconds(4));
  EXPECT_THAT(leases_.Ailment(), IsEmpty());
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_THAT(leases_.Ailment(), HasSubstr("no heartbeat"));
  EXPECT_TRUE(leases_.is_silent());
  ASSERT_TRUE(leases_.Beat(lease.id, lease.fencing_number, {}).ok());
  EXPECT_THAT(leases_.Ailment(), IsEmpty());
}

TEST_F(WorkerLeasesTest, AJumpOfTheClockEndsNothing) {
  const Lease lease = Register();
  clock_.JumpWall(absl::Hours(24));
  EXPECT_THAT(leases_.Ailment(), IsEmpty());
  clock_.JumpWall(absl::Hours(-48));
  EXPECT_THAT(leases_.Ailment(), IsEmpty());
  EXPECT_TRUE(leases_.Beat(lease.id, lease.fencing_number, {}).ok());
}

TEST_F(WorkerLeasesTest, BusyWithoutStepsIsHungAndIdleIsNot) {
  const Lease lease = Register();
  const auto beat = [&](int64_t steps, bool busy) {
    clock_.Advance(absl::Seconds(1));
    EXPECT_TRUE(leases_
                    .Beat(lease.id, lease.fencing_number,
                          {.step_count = steps, .busy = busy})
                    .ok());
  };
  for (int i = 0; i < 100; ++i) beat(5, false);
  EXPECT_THAT(leases_.Ailment(), IsEmpty());
  for (int i = 0; i < 100; ++i) beat(5 + i, true);
  EXPECT_THAT(leases_.Ailment(), IsEmpty());
  for (int i = 0; i < 61; ++i) beat(200, true);
  EXPECT_THAT(leases_.Ailment(), IsEmpty());
  beat(200, true);
  EXPECT_THAT(leases_.Ailment(), HasSubstr("busy, but no step"));
  EXPECT_FALSE(leases_.is_silent());
}

TEST(WorkerStateTest, LivesAsTold) {
  using enum WorkerEvent;
  EXPECT_EQ(*NextWorkerState(v1::WORKER_STATE_STOPPED, kLaunch),
            v1::WORKER_STATE_STARTING);
  EXPECT_EQ(*NextWorkerState(v1::WORKER_STATE_STARTING, kReady),
            v1::WORKER_STATE_READY);
  EXPECT_EQ(*NextWorkerState(v1::WORKER_STATE_READY, kEnd),
            v1::WORKER_STATE_BACKING_OFF);
  EXPECT_EQ(*NextWorkerState(v1::WORKER_STATE_STARTING, kEnd),
            v1::WORKER_STATE_BACKING_OFF);
  EXPECT_EQ(*NextWorkerState(v1::WORKER_STATE_BACKING_OFF, kLaunch),
            v1::WORKER_STATE_STARTING);
  EXPECT_EQ(*NextWorkerState(v1::WORKER_STATE_READY, kLose),
            v1::WORKER_STATE_STARTING);
  EXPECT_EQ(*NextWorkerState(v1::WORKER_STATE_BACKING_OFF, kStop),
            v1::WORKER_STATE_STOPPED);
}

TEST(WorkerStateTest, RefusesWhatCannotHappen) {
  using enum WorkerEvent;
  EXPECT_FALSE(NextWorkerState(v1::WORKER_STATE_READY, kLaunch).ok());
  EXPECT_FALSE(NextWorkerState(v1::WORKER_STATE_READY, kReady).ok());
  EXPECT_FALSE(NextWorkerState(v1::WORKER_STATE_BACKING_OFF, kReady).ok());
  EXPECT_FALSE(NextWorkerState(v1::WORKER_STATE_BACKING_OFF, kEnd).ok());
  EXPECT_FALSE(NextWorkerState(v1::WORKER_STATE_STOPPED, kEnd).ok());
  EXPECT_FALSE(NextWorkerState(v1::WORKER_STATE_STARTING, kLose).ok());
}

}  // namespace
}  // namespace dissonance
