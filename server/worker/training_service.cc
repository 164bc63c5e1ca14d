#include "server/worker/training_service.h"

#include <utility>

#include "server/worker/train_call.h"

namespace dissonance {

TrainingService::TrainingService(ModelRegistry& registry, Engine& engine,
                                 Options options)
    : registry_(registry),
      engine_(engine),
      options_(std::move(options)),
      budget_(options_.limit_bytes,
              [device = registry.device()] {
                return AvailableDeviceBytes(device);
              }),
      peaks_([device = registry.device()] { return PeakDeviceBytes(device); },
             [device = registry.device()] { ForgetPeak(device); }) {}

grpc::ServerBidiReactor<internal::v1::TrainRequest,
                        internal::v1::TrainResponse>*
TrainingService::Train(grpc::CallbackServerContext* /*context*/) {
  auto* call = new TrainCall({engine_, registry_, counts_, peaks_}, budget_,
                             options_.scratch_folder);
  call->Start();
  return call;
}

}  // namespace dissonance
