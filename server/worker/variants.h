// Which network a request means: its variants looked up, and where their
// numbers come from. Values; thread safe.
//
//   ASSIGN_OR_RETURN(auto variants, ResolveVariants(request.variants(), reg));
//   engine.SubmitScore(variants[0].ForEngine(), ...);
#ifndef DISSONANCE_SERVER_WORKER_VARIANTS_H_
#define DISSONANCE_SERVER_WORKER_VARIANTS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/common.pb.h"
#include "google/protobuf/message.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "server/worker/model_registry.h"
#include "src/compute/engine/engine_options.h"

namespace dissonance {

struct ResolvedVariant {
  ResidentModel model;
  std::shared_ptr<const LoraAdapter> adapter = nullptr;          // null: base
  std::shared_ptr<const Interventions> interventions = nullptr;  // null: none

  EngineVariant ForEngine() const {
    return {.model = model.model,
            .adapter = adapter,
            .interventions = interventions};
  }
};

// NOT_FOUND for a model or adapter that is not known here; INVALID_ARGUMENT for
// another model's adapter or an intervention that the model can't have.
absl::StatusOr<ResolvedVariant> ResolveVariant(const v1::Variant& variant,
                                               ModelRegistry& registry);

// All of a request, at least one. Errors begin with "variants[2]: ".
absl::StatusOr<std::vector<ResolvedVariant>> ResolveVariants(
    const google::protobuf::RepeatedPtrField<v1::Variant>& variants,
    ModelRegistry& registry);

// "sha256:..." over a message, the same for equal ones.
std::string MessageDigest(const google::protobuf::Message& message);

// `engine` is what the numbers are computed with; `seed` 0: nothing random.
v1::Provenance ProvenanceOf(const ResolvedVariant& variant,
                            const std::string& input_digest, uint64_t seed,
                            const EngineOptions& engine);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_VARIANTS_H_
