// A call's part of the queue, its first error and its end.
#include "server/worker/task_group.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace dissonance {
namespace {

class TaskGroupTest : public testing::Test {
 protected:
  void Add(int64_t number) {
    group_.Add([this, number]() -> absl::StatusOr<std::vector<int64_t>> {
      if (number == refused_) return absl::UnavailableError("full");
      submitted_.push_back(number);
      return std::vector<int64_t>{number};
    });
  }

  Engine engine_{EngineOptions()};
  int64_t refused_ = -1;
  std::vector<int64_t> submitted_;
  std::optional<absl::Status> end_;
  TaskGroup group_{engine_, [this](const absl::Status& status) {
                     EXPECT_FALSE(end_.has_value()) << "ended twice";
                     end_ = status;
                   }};
};

TEST_F(TaskGroupTest, TheRestIsSubmittedInOrderAsOthersLeave) {
  const auto most = static_cast<int64_t>(kMostMembers);
  for (int64_t i = 0; i < 3 * most; ++i) Add(i);
  // Whoever starts it counts.
  EXPECT_EQ(submitted_.size(), kMostMembers - 1);
  group_.Leave();
  for (int64_t left = 0; left < 3 * most; ++left) {
    EXPECT_LE(static_cast<int64_t>(submitted_.size()) - left, most);
    EXPECT_FALSE(end_.has_value());
    group_.Leave();
  }
  EXPECT_EQ(end_, absl::OkStatus());
  for (int64_t i = 0; i < 3 * most; ++i) {
    EXPECT_EQ(submitted_[static_cast<size_t>(i)], i);
  }
}

TEST_F(TaskGroupTest, ARefusedMemberEndsTheRest) {
  const auto most = static_cast<int64_t>(kMostMembers);
  refused_ = most + 1;
  for (int64_t i = 0; i < 2 * most; ++i) Add(i);
  group_.Leave();
  size_t left = 0;
  while (!group_.has_failed()) {
    group_.Leave();
    ++left;
  }
  EXPECT_EQ(submitted_.back(), most);
  Add(7);
  EXPECT_EQ(submitted_.back(), most);
  for (; left < submitted_.size(); ++left) {
    EXPECT_FALSE(end_.has_value());
    group_.Leave();
  }
  EXPECT_EQ(end_, absl::UnavailableError("full"));
}

TEST_F(TaskGroupTest, NobodyWhoWaitsIsSubmittedOnceItFailed) {
  const auto most = static_cast<int64_t>(kMostMembers);
  for (int64_t i = 0; i < 2 * most; ++i) Add(i);
  group_.Fail(absl::CancelledError("gone"));
  const size_t before = submitted_.size();
  group_.Leave();
  for (size_t i = 0; i < before; ++i) group_.Leave();
  EXPECT_EQ(submitted_.size(), before);
  EXPECT_EQ(end_, absl::CancelledError("gone"));
}

// One thread starts, the engine's ends members and submits the next, a third
// one cancels: nobody is lost.
TEST_F(TaskGroupTest, ThreadsThatAddLeaveAndFailEndIt) {
  for (int round = 0; round < 50; ++round) {
    struct Call {
      explicit Call(Engine& engine)
          : group(engine, [this](const absl::Status&) { ended.Notify(); }) {}
      absl::Notification ended;
      absl::Mutex mutex;
      int64_t in_engine ABSL_GUARDED_BY(mutex) = 0;
      TaskGroup group;
    };
    Call call(engine_);
    std::thread leaver([&call] {
      const auto has_some = [&call]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return call.in_engine > 0 || call.ended.HasBeenNotified();
      };
      while (!call.ended.HasBeenNotified()) {
        {
          const absl::MutexLock lock(&call.mutex);
          if (!call.mutex.AwaitWithTimeout(absl::Condition(&has_some),
                                           absl::Milliseconds(1))) {
            continue;
          }
          if (call.in_engine == 0) continue;
          --call.in_engine;
        }
        call.group.Leave();
      }
    });
    std::thread canceller([&call, round] {
      if (round % 2 == 0) return;
      while (!call.group.has_failed() && !call.ended.HasBeenNotified()) {
        const absl::MutexLock lock(&call.mutex);
        if (call.in_engine < 100) continue;
        break;
      }
      call.group.Fail(absl::CancelledError("gone"));
    });
    for (int64_t i = 0; i < 2000; ++i) {
      call.group.Add([&call, i]() -> absl::StatusOr<std::vector<int64_t>> {
        const absl::MutexLock lock(&call.mutex);
        ++call.in_engine;
        return std::vector<int64_t>{i};
      });
    }
    call.group.Leave();
    call.ended.WaitForNotification();
    leaver.join();
    canceller.join();
  }
}

}  // namespace
}  // namespace dissonance
