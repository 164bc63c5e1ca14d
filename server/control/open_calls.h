// Calls that stream, so that they can be ended from outside: when their token
// ends, or the server. Thread safe; entries may outlive the list.
//
//   class Stream : ... { std::unique_ptr<OpenCall> open_; };
//   stream.open_ = calls.Add(caller.token,
//                            [&stream](const absl::Status& s) { ... });
//   calls.EndAll(absl::UnavailableError("the server is stopping"));
#ifndef DISSONANCE_SERVER_CONTROL_OPEN_CALLS_H_
#define DISSONANCE_SERVER_CONTROL_OPEN_CALLS_H_

#include <functional>
#include <list>
#include <memory>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace dissonance {

// Keeps a call in its list. Its destruction waits for an end in progress on
// another thread; so `end` must not wait for that destruction.
class OpenCall {
 public:
  ~OpenCall();
  OpenCall(const OpenCall&) = delete;
  OpenCall& operator=(const OpenCall&) = delete;

 private:
  friend class OpenCalls;
  struct Entry;
  explicit OpenCall(std::shared_ptr<Entry> entry) : entry_(std::move(entry)) {}

  const std::shared_ptr<Entry> entry_;
};

class OpenCalls {
 public:
  using End = std::function<void(const absl::Status&)>;

  // `end` may be called once, on any thread, from now on.
  std::unique_ptr<OpenCall> Add(absl::string_view token, End end)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends all calls, those to come too.
  void EndAll(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the calls of one token.
  void EndOf(absl::string_view token, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The tokens of all calls.
  std::set<std::string> Tokens() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  std::list<std::shared_ptr<OpenCall::Entry>> Entries()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);  // not OK: calls to come end so
  std::list<std::weak_ptr<OpenCall::Entry>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_OPEN_CALLS_H_
