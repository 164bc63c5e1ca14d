// The way to one worker for as long as its lease lasts: a channel whose calls
// are counted and can all be ended at once, so that nothing that a worker says
// after its lease is taken for an answer. Thread safe.
//
//   const auto worker = WorkerConnection::Open(address, 256 << 20);
//   stub = v1::Inference::NewStub(worker->channel());
//   ...
//   worker->Cut();   // the lease is over
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_CONNECTION_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_CONNECTION_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace grpc {
class Channel;
class ChannelCredentials;
}  // namespace grpc

namespace dissonance {

using WorkerChannel = std::shared_ptr<grpc::Channel>;

class CallsInFlight;

class WorkerConnection {
 public:
  // Shares no connection with another channel; connects with its first call.
  static std::shared_ptr<WorkerConnection> Open(
      const std::string& address,
      const std::shared_ptr<grpc::ChannelCredentials>& credentials,
      int max_message_bytes);
  // Without credentials, to an address that only this user can reach.
  static std::shared_ptr<WorkerConnection> Open(const std::string& address,
                                                int max_message_bytes);

  const WorkerChannel& channel() const { return channel_; }
  // Calls under way.
  int call_count() const;
  // Whether the last call that ended found nobody there.
  bool seems_lost() const;
  // Asks whether it serves, which takes `timeout` at most. UNAVAILABLE, with
  // the transport's words, if it can't be reached.
  absl::Status Probe(absl::Duration timeout) const;
  // Ends all calls under way and to come with UNAVAILABLE, whatever the worker
  // says of them. Never on one of gRPC's threads.
  void Cut();

 private:
  WorkerConnection(std::shared_ptr<CallsInFlight> calls, WorkerChannel channel);

  const std::shared_ptr<CallsInFlight> calls_;
  const WorkerChannel channel_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_CONNECTION_H_
