// Resident models and adapters as API messages. Thread safe.
#ifndef DISSONANCE_SERVER_WORKER_MODEL_MESSAGES_H_
#define DISSONANCE_SERVER_WORKER_MODEL_MESSAGES_H_

#include <optional>

#include "absl/status/statusor.h"
#include "dissonance/v1/models.pb.h"
#include "server/worker/model_registry.h"

namespace dissonance {

v1::Model ToMessage(const ResidentModel& resident);
v1::Adapter ToMessage(const ResidentAdapter& resident);

// nullopt for UNSPECIFIED; INVALID_ARGUMENT for a number that is no DType.
absl::StatusOr<std::optional<at::ScalarType>> FromMessage(v1::DType dtype);
// UNSPECIFIED for a type that the API has no name for.
v1::DType ToMessage(at::ScalarType dtype);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_MODEL_MESSAGES_H_
