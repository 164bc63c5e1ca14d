// What one StreamActivations request asks for, and where an interrupted one
// goes on. Values; thread safe.
#ifndef DISSONANCE_SERVER_WORKER_ACTIVATIONS_PLAN_H_
#define DISSONANCE_SERVER_WORKER_ACTIVATIONS_PLAN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/interpretability.pb.h"
#include "server/worker/prompts.h"
#include "server/worker/variants.h"
#include "src/compute/engine/engine_options.h"
#include "src/compute/interp/capture.h"

namespace dissonance {

// A request, looked up, checked and encoded.
struct ActivationsPlan {
  std::shared_ptr<const v1::StreamActivationsRequest> request;
  // "sha256:..." over all that the rows depend on: the request without its
  // cursor, models, adapters and tokens by content, and how they are computed.
  std::string digest;
  std::vector<ResolvedVariant> variants;
  std::vector<Prompts> prompts;                              // of each variant
  std::vector<std::shared_ptr<const CaptureSpec>> captures;  // likewise
  // Inputs by variants that the caller has already.
  int64_t first_unit = 0;

  int64_t unit_count() const {
    return static_cast<int64_t>(variants.size()) * request->inputs_size();
  }
  // Behind a unit's rows; `unit` counts from the request's first one.
  std::string CursorBehind(int64_t unit) const;
};

// Errors name the field. FAILED_PRECONDITION for a cursor of another request.
absl::StatusOr<ActivationsPlan> MakeActivationsPlan(
    const v1::StreamActivationsRequest& request, ModelRegistry& registry,
    const RequestLimits& limits, const EngineOptions& engine,
    const Cancelled& cancelled);

// The type that a network's rows travel in. INVALID_ARGUMENT for a number that
// is no DType.
absl::StatusOr<at::ScalarType> WireType(v1::DType asked, const Model& model);

// The end of the stream.
v1::ActivationSummary SummaryOf(const ActivationsPlan& plan, int64_t row_count,
                                bool from_store, const EngineOptions& engine);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_ACTIVATIONS_PLAN_H_
