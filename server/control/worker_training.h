// TrainingClient over the workers that serve now, as background work. A
// training stays with one worker, and so do calls that name its evaluation
// adapter. Thread safe; borrows the route. While a training is under way it is
// charged its share of the device, and the tokens of its steps; not while it
// waits for an evaluation, which is charged for itself.
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_TRAINING_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_TRAINING_H_

#include <memory>

#include "absl/status/statusor.h"
#include "server/control/worker_route.h"
#include "src/lab/finetune/training_client.h"

namespace dissonance {

class WorkerTraining final : public TrainingClient {
 public:
  explicit WorkerTraining(WorkerRoute& route) : route_(route) {}

  absl::StatusOr<std::unique_ptr<TrainingSession>> Train(
      const internal::v1::TrainBegin& begin,
      const CallOptions& options) override;

 private:
  WorkerRoute& route_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_TRAINING_H_
