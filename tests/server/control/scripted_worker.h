// A worker that answers every method but the question for its health as a
// script says, over a real socket of this machine, and records what reached it.
// Thread safe.
//
//   ScriptedWorker worker;
//   worker.Play({.message_count = 3, .message = [](int64_t i) { ... }});
//   route.Set(0, worker.connection());
//   ...
//   EXPECT_EQ(worker.AwaitCall(0)->method, "/dissonance.v1.Inference/Score");
#ifndef DISSONANCE_TESTS_SERVER_CONTROL_SCRIPTED_WORKER_H_
#define DISSONANCE_TESTS_SERVER_CONTROL_SCRIPTED_WORKER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/server.h"
#include "server/control/worker_route.h"

namespace dissonance {

class ScriptedWorker final : private grpc::CallbackGenericService {
 public:
  // Of worker and control plane, as the configuration's default.
  static constexpr int kMaxMessageBytes = 256 << 20;

  struct Script {
    int64_t message_count = 1;
    // The bytes of message i. Unset: none, which is a message of defaults.
    std::function<std::string(int64_t)> message = {};
    // After the messages the call ends so, or, if it stays open, when it is
    // cancelled.
    grpc::Status end = grpc::Status::OK;
    bool stays_open = false;
  };

  struct Call {
    std::string method;
    std::multimap<std::string, std::string> metadata;
    bool has_deadline = false;
    std::atomic<int64_t> written_count = 0;  // that its transport took
    absl::Notification is_cancelled;
    std::string request;  // whole once a message was written
  };

  ScriptedWorker();
  ~ScriptedWorker() override { Kill(); }

  // What calls from now on get.
  void Play(Script script) ABSL_LOCKS_EXCLUDED(mutex_);
  const std::string& address() const { return address_; }
  // As the control plane connects to a worker.
  const std::shared_ptr<WorkerConnection>& connection() const {
    return connection_;
  }
  // Call `index` in the order of arrival, once it came.
  std::shared_ptr<const Call> AwaitCall(size_t index)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Closes all connections, with calls in flight.
  void Kill();

 private:
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override
      ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Mutex mutex_;
  Script script_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Call>> calls_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::shared_ptr<WorkerConnection> connection_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_CONTROL_SCRIPTED_WORKER_H_
