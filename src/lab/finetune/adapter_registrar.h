// How a job makes files of its own an adapter that everybody can use, as
// Models.RegisterAdapter does. Thread safe.
//
//   ASSIGN_OR_RETURN(v1::Adapter adapter,
//                    registrar.Register("ada", request, call));
#ifndef DISSONANCE_LAB_FINETUNE_ADAPTER_REGISTRAR_H_
#define DISSONANCE_LAB_FINETUNE_ADAPTER_REGISTRAR_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/models.pb.h"
#include "src/lab/eval/compute_client.h"

namespace dissonance {

class AdapterRegistrar {
 public:
  virtual ~AdapterRegistrar() = default;

  // Registers and loads it for the user, in place of an earlier one of the
  // name that is his. UNAVAILABLE if the worker was lost.
  virtual absl::StatusOr<v1::Adapter> Register(
      const std::string& user, const v1::RegisterAdapterRequest& request,
      const CallOptions& options) = 0;

  // Unloads and forgets it. OK if there is none.
  virtual absl::Status Unregister(const std::string& user,
                                  const std::string& name) = 0;

  // The adapter of that name, whoever owns it, from the records.
  virtual absl::StatusOr<std::optional<v1::Adapter>> Find(
      const std::string& name) = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FINETUNE_ADAPTER_REGISTRAR_H_
