// Calls of the public API from within its process, as those that came over
// HTTP: on the same way as a client's, but that the gate is not asked (see
// auth.h). Thread safe.
//
//   RETURN_IF_ERROR(gate.Check(kGetModel, authorization));
//   RETURN_IF_ERROR(calls.Call(kGetModel, authorization, request, response));
#ifndef DISSONANCE_SERVER_CONTROL_LOCAL_CALLS_H_
#define DISSONANCE_SERVER_CONTROL_LOCAL_CALLS_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "google/protobuf/message_lite.h"

namespace grpc {
class Channel;
}

namespace dissonance {

// Metadata of calls that Watch() makes; the log heeds it of such calls only.
inline constexpr char kWatchKey[] = "x-dissonance-watch";

class LocalCalls {
 public:
  // Calls go over `channel`, the server's own, from now on.
  void Open(std::shared_ptr<grpc::Channel> channel) ABSL_LOCKS_EXCLUDED(mutex_);
  // No call begins any more. Those in flight are the server's to end. Has to
  // be called before the server is shut down: a call that begins later would
  // find nobody at the channel's other end.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_) { Open(nullptr); }

  // Begins a call: `begin` makes it on the channel and does not wait for it.
  // UNAVAILABLE, without `begin`, unless open.
  absl::Status Begin(
      absl::FunctionRef<void(const std::shared_ptr<grpc::Channel>&)> begin)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // A call with one answer, waited for, e.g. of
  // "/dissonance.v1.Models/GetModel".
  absl::Status Call(const std::string& method, const std::string& authorization,
                    const google::protobuf::MessageLite& request,
                    google::protobuf::MessageLite& response)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    return Call(method, authorization, request, response, /*is_watch=*/false);
  }
  // The same of a method that changes nothing and is called again and again to
  // see what changed: the log has it at level debug only.
  absl::Status Watch(const std::string& method,
                     const std::string& authorization,
                     const google::protobuf::MessageLite& request,
                     google::protobuf::MessageLite& response)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    return Call(method, authorization, request, response, /*is_watch=*/true);
  }

 private:
  absl::Status Call(const std::string& method, const std::string& authorization,
                    const google::protobuf::MessageLite& request,
                    google::protobuf::MessageLite& response, bool is_watch)
      ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Mutex mutex_;  // held while a call begins
  std::shared_ptr<grpc::Channel> channel_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_LOCAL_CALLS_H_
