// Tells watchers that a job has news. The news themselves are read from the
// store, so a slow watcher costs no memory. Thread safe.
//
//   auto subscription = hub.Subscribe("jobs/01J...", [this] { Pump(); });
#ifndef DISSONANCE_LAB_JOBS_EVENT_HUB_H_
#define DISSONANCE_LAB_JOBS_EVENT_HUB_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace dissonance {

// Keeps a callback registered. Its destruction waits for a call in progress
// on another thread; on the thread of the call itself it does not wait. Do not
// destroy it while holding a lock that the callback takes. May outlive the hub.
class EventSubscription {
 public:
  ~EventSubscription();
  EventSubscription(const EventSubscription&) = delete;
  EventSubscription& operator=(const EventSubscription&) = delete;

 private:
  friend class EventHub;
  struct Watcher;
  struct Registry;
  EventSubscription(std::shared_ptr<Registry> registry, std::string job,
                    std::shared_ptr<Watcher> watcher);

  const std::shared_ptr<Registry> registry_;
  const std::string job_;
  const std::shared_ptr<Watcher> watcher_;
};

class EventHub {
 public:
  EventHub();

  // `callback` runs on whatever thread calls Notify, never twice at a time.
  // News that come while it runs make it run once more.
  std::unique_ptr<EventSubscription> Subscribe(absl::string_view job,
                                               std::function<void()> callback);

  // Calls the callbacks of a job. Hold no lock that they take.
  void Notify(absl::string_view job);

 private:
  const std::shared_ptr<EventSubscription::Registry> registry_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_EVENT_HUB_H_
