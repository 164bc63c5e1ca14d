#include <string>

#include "gtest/gtest.h"
#include "src/lab/jobs/device_meter.h"
#include "src/lab/jobs/queue_place.h"
#include "src/lab/jobs/usage_ledger.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

class SetClock : public Clock {
 public:
  absl::Time Now() const override { return now; }
  absl::Duration Monotonic() const override { return monotonic; }
  void Advance(absl::Duration time) {
    now += time;
    monotonic += time;
  }

  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  absl::Duration monotonic = absl::Hours(5);
};

TEST(DeviceMeter, SharesTheDeviceEquallyAmongCallsUnderWay) {
  SetClock clock;
  DeviceMeter meter(clock);
  const DeviceMeter::Call first(meter);
  clock.Advance(absl::Seconds(4));
  EXPECT_DOUBLE_EQ(first.Seconds(), 4);
  {
    const DeviceMeter::Call second(meter);
    clock.Advance(absl::Seconds(2));
    EXPECT_DOUBLE_EQ(second.Seconds(), 1);
    EXPECT_DOUBLE_EQ(first.Seconds(), 5);
  }
  clock.Advance(absl::Seconds(1));
  EXPECT_DOUBLE_EQ(first.Seconds(), 6);
}

TEST(DeviceMeter, TimeWithoutCallsIsNobodys) {
  SetClock clock;
  DeviceMeter meter(clock);
  { const DeviceMeter::Call call(meter); }
  clock.Advance(absl::Hours(1));
  const DeviceMeter::Call call(meter);
  EXPECT_DOUBLE_EQ(call.Seconds(), 0);
}

class UsageLedgerTest : public ::testing::Test {
 protected:
  std::unique_ptr<UsageLedger> Load() {
    return *UsageLedger::Load(users_, clock_, absl::Hours(10));
  }

  TempFolder dir_;
  SetClock clock_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  UserStore users_{*database_};
};

TEST_F(UsageLedgerTest, HalvesWhatIsAHalfLifeAgo) {
  const auto ledger = Load();
  ledger->AddUnstored("ada", 8);
  clock_.Advance(absl::Hours(10));
  EXPECT_NEAR(ledger->Of("ada").decayed_seconds, 4, 1e-9);
  ledger->AddUnstored("ada", 1);
  EXPECT_NEAR(ledger->Of("ada").decayed_seconds, 5, 1e-9);
  EXPECT_EQ(ledger->Of("bob").decayed_seconds, 0);
}

TEST_F(UsageLedgerTest, AJumpOfTheClockChangesNoShare) {
  const auto ledger = Load();
  ledger->AddUnstored("ada", 8);
  for (const absl::Duration jump : {absl::Hours(24), -absl::Hours(48)}) {
    clock_.now += jump;
    EXPECT_NEAR(ledger->Of("ada").decayed_seconds, 8, 1e-9);
  }
}

TEST_F(UsageLedgerTest, SurvivesARestart) {
  {
    const auto ledger = Load();
    ledger->AddUnstored("ada", 8);
    ledger->AddUnstored("bob", 2);
    ASSERT_TRUE(ledger->Flush().ok());
    ASSERT_TRUE(ledger->Flush().ok());  // once is enough
  }
  clock_.Advance(absl::Hours(10));
  const auto ledger = Load();
  EXPECT_NEAR(ledger->Of("ada").decayed_seconds, 4, 1e-9);
  EXPECT_EQ(ledger->Of("ada").week_seconds, 8);
  EXPECT_EQ(ledger->All().size(), 2U);
}

TEST_F(UsageLedgerTest, AWeekEndsAfterSevenDays) {
  const auto ledger = Load();
  ledger->AddStored("ada", 8, 100);
  clock_.Advance(absl::Hours(7 * 24 - 1));
  EXPECT_EQ(ledger->Of("ada").week_seconds, 8);
  EXPECT_EQ(ledger->Of("ada").week_tokens, 100);
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(ledger->Of("ada").week_seconds, 0);
}

TEST(QueuePosition, UsersOfAPriorityTakeTurns) {
  const std::vector<QueueCount> counts = {
      {"ada", v1::JOB_PRIORITY_NORMAL, 10'000},
      {"bob", v1::JOB_PRIORITY_NORMAL, 3},
      {"bob", v1::JOB_PRIORITY_BACKGROUND, 50},
      {"eve", v1::JOB_PRIORITY_INTERACTIVE, 2}};
  const auto ada_used_most = [](const std::string& user) {
    return user == "ada" ? 9.0 : 0.0;
  };
  // Bob's first: behind eve's two.
  EXPECT_EQ(
      QueuePosition("bob", v1::JOB_PRIORITY_NORMAL, 0, counts, ada_used_most),
      3);
  // Bob's third: behind eve's two, his two, and two of ada's.
  EXPECT_EQ(
      QueuePosition("bob", v1::JOB_PRIORITY_NORMAL, 2, counts, ada_used_most),
      7);
  // Ada's first: bob goes before her.
  EXPECT_EQ(
      QueuePosition("ada", v1::JOB_PRIORITY_NORMAL, 0, counts, ada_used_most),
      4);
  EXPECT_EQ(QueuePosition("ada", v1::JOB_PRIORITY_NORMAL, 9'999, counts,
                          ada_used_most),
            2 + 9'999 + 3 + 1);
}

}  // namespace
}  // namespace dissonance
