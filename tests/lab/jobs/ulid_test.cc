#include "src/lab/jobs/ulid.h"

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace dissonance {
namespace {

class FakeClock : public Clock {
 public:
  absl::Time Now() const override { return now; }
  absl::Duration Monotonic() const override { return absl::ZeroDuration(); }
  absl::Time now = absl::FromUnixMillis(1469918176385);
};

TEST(Ulid, BeginsWithTheTime) {
  FakeClock clock;
  // The example of the ULID specification.
  EXPECT_EQ(UlidGenerator(clock, "").Next().substr(0, 10), "01ARYZ6S41");
  EXPECT_NE(UlidGenerator(clock, "").Next(), UlidGenerator(clock, "").Next());
}

TEST(Ulid, GrowsWithinAMillisecondAndWhenTheClockGoesBack) {
  FakeClock clock;
  UlidGenerator ulids(clock, "");
  std::string last = ulids.Next();
  for (int i = 0; i < 1000; ++i) {
    if (i == 500) clock.now -= absl::Hours(24);
    const std::string next = ulids.Next();
    EXPECT_GT(next, last);
    EXPECT_TRUE(IsUlid(next)) << next;
    last = next;
  }
}

TEST(Ulid, FollowsTheOneBeforeARestart) {
  FakeClock clock;
  for (const std::string before :
       {"01ZZZZZZZZZZZZZZZZZZZZZZZZ", "0123456789ABCDEFGHJKMNPQRS",
        "7ZZZZZZZZZZZZZZZZZZZZZZZZY"}) {
    EXPECT_GT(UlidGenerator(clock, before).Next(), before);
  }
  EXPECT_EQ(UlidGenerator(clock, "01ZZZZZZZZZZZZZZZZZZZZZZZZ").Next(),
            "02000000000000000000000000");
}

TEST(Ulid, IsUniqueAcrossThreads) {
  FakeClock clock;
  UlidGenerator ulids(clock, "");
  std::vector<std::vector<std::string>> made(4);
  std::vector<std::thread> threads;
  for (auto& mine : made) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) mine.push_back(ulids.Next());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> all;
  for (const auto& mine : made) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), 4000U);
}

TEST(Ulid, KnowsWhatIsOne) {
  EXPECT_TRUE(IsUlid("01ARZ3NDEKTSV4RRFFQ69G5FAV"));
  for (const char* text :
       {"", "01ARZ3NDEKTSV4RRFFQ69G5FA", "01ARZ3NDEKTSV4RRFFQ69G5FAVV",
        "01arz3ndektsv4rrffq69g5fav", "81ARZ3NDEKTSV4RRFFQ69G5FAV",
        "01ARZ3NDEKTSV4RRFFQ69G5FAU", "../../../../../../etc/pass"}) {
    EXPECT_FALSE(IsUlid(text)) << text;
  }
}

}  // namespace
}  // namespace dissonance
