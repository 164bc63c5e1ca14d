// How a fine_tune job trains on the worker: one call of internal.v1.Training,
// message by message. The control plane implements it over gRPC; tests play it.
// A client is thread safe and outlives its sessions; a session belongs to one
// thread.
//
//   ASSIGN_OR_RETURN(auto session,
//                    client.Train(begin, {.spend = &job.spend()}));
//   RETURN_IF_ERROR(session->Send(documents, {}));
//   ASSIGN_OR_RETURN(ReceivedMessage next,
//                    session->Receive(absl::Milliseconds(100)));
#ifndef DISSONANCE_LAB_FINETUNE_TRAINING_CLIENT_H_
#define DISSONANCE_LAB_FINETUNE_TRAINING_CLIENT_H_

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dissonance/internal/v1/training.pb.h"
#include "src/lab/eval/compute_client.h"
#include "src/lab/jobs/device_meter.h"

namespace dissonance {

// What came of a training: a message, its end, or neither in the time given.
struct ReceivedMessage {
  std::optional<internal::v1::TrainResponse> message = std::nullopt;
  bool ended = false;
};

// One training. Going away ends it, and frees what it held in the worker.
class TrainingSession {
 public:
  virtual ~TrainingSession() = default;

  // Waits until the message is on its way. CANCELLED and DEADLINE_EXCEEDED as
  // `options` say, which end the training; else what it ended with.
  virtual absl::Status Send(const internal::v1::TrainRequest& request,
                            const CallOptions& options) = 0;

  // Waits for the next message, at most `timeout`. What the training ended
  // with if that is no success: UNAVAILABLE if the worker was lost.
  virtual absl::StatusOr<ReceivedMessage> Receive(absl::Duration timeout) = 0;
};

class TrainingClient {
 public:
  virtual ~TrainingClient() = default;

  // Begins a training, whose first message is on its way then; errors as of
  // Send(). What it takes of the device, and its tokens, go to options.spend.
  // UNAVAILABLE if there is no worker.
  virtual absl::StatusOr<std::unique_ptr<TrainingSession>> Train(
      const internal::v1::TrainBegin& begin, const CallOptions& options) = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FINETUNE_TRAINING_CLIENT_H_
