#include "src/lab/jobs/event_hub.h"

#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace dissonance {

struct EventSubscription::Watcher {
  explicit Watcher(std::function<void()> on_news)
      : callback(std::move(on_news)) {}

  // Calls back, unless a call is in progress: that one is then repeated.
  void Call() {
    mutex.Lock();
    has_news = true;
    while (has_news && !closed && caller == std::thread::id()) {
      has_news = false;
      caller = std::this_thread::get_id();
      mutex.Unlock();
      callback();
      mutex.Lock();
      caller = std::thread::id();
    }
    mutex.Unlock();
  }

  void Close() {
    absl::MutexLock lock(&mutex);
    closed = true;
    if (caller == std::this_thread::get_id()) return;
    const auto is_idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex) {
      return caller == std::thread::id();
    };
    mutex.Await(absl::Condition(&is_idle));
  }

  const std::function<void()> callback;
  absl::Mutex mutex;
  bool closed ABSL_GUARDED_BY(mutex) = false;
  bool has_news ABSL_GUARDED_BY(mutex) = false;
  // The thread that runs the callback; none: no id.
  std::thread::id caller ABSL_GUARDED_BY(mutex);
};

struct EventSubscription::Registry {
  absl::Mutex mutex;
  std::multimap<std::string, std::shared_ptr<Watcher>, std::less<>> watchers
      ABSL_GUARDED_BY(mutex);
};

EventSubscription::EventSubscription(std::shared_ptr<Registry> registry,
                                     std::string job,
                                     std::shared_ptr<Watcher> watcher)
    : registry_(std::move(registry)),
      job_(std::move(job)),
      watcher_(std::move(watcher)) {
  absl::MutexLock lock(&registry_->mutex);
  registry_->watchers.emplace(job_, watcher_);
}

EventSubscription::~EventSubscription() {
  {
    absl::MutexLock lock(&registry_->mutex);
    auto [entry, end] = registry_->watchers.equal_range(job_);
    while (entry != end && entry->second != watcher_) ++entry;
    if (entry != end) registry_->watchers.erase(entry);
  }
  watcher_->Close();
}

EventHub::EventHub()
    : registry_(std::make_shared<EventSubscription::Registry>()) {}

std::unique_ptr<EventSubscription> EventHub::Subscribe(
    absl::string_view job, std::function<void()> callback) {
  auto watcher =
      std::make_shared<EventSubscription::Watcher>(std::move(callback));
  return std::unique_ptr<EventSubscription>(
      new EventSubscription(registry_, std::string(job), std::move(watcher)));
}

void EventHub::Notify(absl::string_view job) {
  std::vector<std::shared_ptr<EventSubscription::Watcher>> watchers;
  {
    absl::MutexLock lock(&registry_->mutex);
    const auto [begin, end] = registry_->watchers.equal_range(job);
    for (auto entry = begin; entry != end; ++entry) {
      watchers.push_back(entry->second);
    }
  }
  for (const auto& watcher : watchers) watcher->Call();
}

}  // namespace dissonance
