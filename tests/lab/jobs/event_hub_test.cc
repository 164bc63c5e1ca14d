#include "src/lab/jobs/event_hub.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace dissonance {
namespace {

TEST(EventHub, TellsTheWatchersOfTheJobOnly) {
  EventHub hub;
  int first = 0;
  int second = 0;
  auto watch_first = hub.Subscribe("jobs/a", [&] { ++first; });
  auto watch_second = hub.Subscribe("jobs/b", [&] { ++second; });
  hub.Notify("jobs/a");
  hub.Notify("jobs/a");
  hub.Notify("jobs/c");
  EXPECT_EQ(first, 2);
  EXPECT_EQ(second, 0);
  watch_first.reset();
  hub.Notify("jobs/a");
  EXPECT_EQ(first, 2);
}

TEST(EventHub, NewsDuringACallbackRepeatIt) {
  EventHub hub;
  int calls = 0;
  auto watch = hub.Subscribe("jobs/a", [&] {
    if (++calls == 1) {
      hub.Notify("jobs/a");
      EXPECT_EQ(calls, 1) << "two calls at a time";
    }
  });
  hub.Notify("jobs/a");
  EXPECT_EQ(calls, 2);
}

TEST(EventHub, ACallbackMayEndItsOwnSubscription) {
  EventHub hub;
  std::unique_ptr<EventSubscription> watch;
  int calls = 0;
  watch = hub.Subscribe("jobs/a", [&] {
    ++calls;
    watch.reset();
  });
  hub.Notify("jobs/a");
  hub.Notify("jobs/a");
  EXPECT_EQ(calls, 1);
}

TEST(EventHub, EndingASubscriptionWaitsForItsCallback) {
  EventHub hub;
  absl::Notification entered;
  absl::Notification leave;
  std::atomic<bool> left = false;
  auto watch = hub.Subscribe("jobs/a", [&] {
    entered.Notify();
    leave.WaitForNotification();
    left = true;
  });
  std::thread notifier([&] { hub.Notify("jobs/a"); });
  entered.WaitForNotification();
  std::thread opener([&] { leave.Notify(); });
  watch.reset();
  EXPECT_TRUE(left);
  notifier.join();
  opener.join();
}

TEST(EventHub, WatchersComeAndGoWhileOthersAreTold) {
  EventHub hub;
  std::atomic<bool> done = false;
  std::thread notifier([&] {
    while (!done) hub.Notify("jobs/a");
  });
  std::vector<std::thread> watchers;
  for (int t = 0; t < 4; ++t) {
    watchers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        auto alive = std::make_unique<std::atomic<int>>(0);
        auto* count = alive.get();
        auto watch = hub.Subscribe("jobs/a", [count] { ++*count; });
        watch.reset();
        alive.reset();
      }
    });
  }
  for (std::thread& watcher : watchers) watcher.join();
  done = true;
  notifier.join();
}

TEST(EventHub, ASubscriptionMayOutliveIt) {
  auto hub = std::make_unique<EventHub>();
  auto watch = hub->Subscribe("jobs/a", [] {});
  hub.reset();
  watch.reset();
}

}  // namespace
}  // namespace dissonance
