// Tells watchers that a job has news. The news themselves are read from the
// store, so a slow watcher costs no memory. Thread safe.
//
//   auto subscription = hub.Subscribe("jobs/01J...", [this] { Pump(); });
#ifndef DISSONANCE_LAB_JOBS_EVENT_HUB_H_
#define DISSONANCE_LAB_JOBS_EVENT_HUB_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace dissonance {

// Keeps a callback registered. Its destruction waits for a call in progress
// on another thread; on the thread of the call itself it does not wait. Do not
// destroy it while holding a lock that the callback takes. May outlive the hub.
class EventSubscription {
 public:
  struct Entry;

  explicit EventSubscription(std::shared_ptr<Entry> entry);
  ~EventSubscription();
  EventSubscription(const EventSubscription&) = delete;
  EventSubscription& operator=(const EventSubscription&) = delete;

 private:
  std::shared_ptr<Entry> entry_;
};

class EventHub {
 public:
  // `callback` runs on whatever thread calls Notify, never twice at a time.
  // News that come while it runs make it run once more.
  std::unique_ptr<EventSubscription> Subscribe(absl::string_view job,
                                               std::function<void()> callback);

  // Calls the callbacks of a job. Hold no lock that they take.
  void Notify(absl::string_view job);

 private:
  absl::Mutex mutex_;
  std::multimap<std::string, std::weak_ptr<EventSubscription::Entry>,
                std::less<>>
      entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_EVENT_HUB_H_
