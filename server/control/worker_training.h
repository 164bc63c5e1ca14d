// TrainingClient over the worker that serves now, as background work. Thread
// safe; borrows route and meter. While a training is under way it is charged
// its share of the device, and the tokens of its steps; not while it waits for
// an evaluation, which is charged for itself.
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_TRAINING_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_TRAINING_H_

#include <memory>

#include "absl/status/statusor.h"
#include "server/control/worker_route.h"
#include "src/lab/finetune/training_client.h"
#include "src/lab/jobs/device_meter.h"

namespace dissonance {

class WorkerTraining final : public TrainingClient {
 public:
  WorkerTraining(const WorkerRoute& route, DeviceMeter& meter)
      : route_(route), meter_(meter) {}

  absl::StatusOr<std::unique_ptr<TrainingSession>> Train(
      DeviceSpend& spend) override;

 private:
  const WorkerRoute& route_;
  DeviceMeter& meter_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_TRAINING_H_
