// Bounds how many streams the HTTP port sends at a time, all together and to
// one user, as each takes one of its connections for long. Thread safe.
//
//   ASSIGN_OR_RETURN(StreamSeats::Seat seat, seats.Take("users/ada"));
//   ...  // the stream; others can have the seat when this one is let go
#ifndef DISSONANCE_SERVER_CONTROL_STREAM_SEATS_H_
#define DISSONANCE_SERVER_CONTROL_STREAM_SEATS_H_

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace dissonance {

class StreamSeats {
 public:
  // With the POSTs at a time (http_server.h) fewer than connections, so that
  // /healthz is answered still.
  static constexpr int kMost = 48;
  static constexpr int kMostOfUser = 8;

  // Held by whoever streams; may outlive this object.
  using Seat = std::shared_ptr<const void>;

  // RESOURCE_EXHAUSTED if the user has all of his, UNAVAILABLE if all are
  // taken.
  absl::StatusOr<Seat> Take(const std::string& user);

 private:
  struct Taken {
    absl::Mutex mutex;
    int count ABSL_GUARDED_BY(mutex) = 0;
    std::map<std::string, int> by_user ABSL_GUARDED_BY(mutex);
  };
  const std::shared_ptr<Taken> taken_ = std::make_shared<Taken>();
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_STREAM_SEATS_H_
