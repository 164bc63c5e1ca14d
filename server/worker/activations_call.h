// One StreamActivations RPC in flight: its prompts run in the engine and what
// they keep is sent by variant, then input, as it comes. Deletes itself.
#ifndef DISSONANCE_SERVER_WORKER_ACTIVATIONS_CALL_H_
#define DISSONANCE_SERVER_WORKER_ACTIVATIONS_CALL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/interpretability.pb.h"
#include "server/worker/ordered_stream.h"
#include "server/worker/prompts.h"
#include "server/worker/task_group.h"
#include "server/worker/variants.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

// A request, looked up, checked and encoded.
struct ActivationsPlan {
  std::shared_ptr<const v1::StreamActivationsRequest> request;
  std::string digest;  // of the request without its cursor
  std::vector<ResolvedVariant> variants;
  std::vector<Prompts> prompts;                              // of each variant
  std::vector<std::shared_ptr<const CaptureSpec>> captures;  // likewise
  // Inputs by variants that the caller has already.
  int64_t first_unit = 0;

  int64_t unit_count() const {
    return static_cast<int64_t>(variants.size()) * request->inputs_size();
  }
};

// Errors name the field. FAILED_PRECONDITION for a cursor of another request.
absl::StatusOr<ActivationsPlan> MakeActivationsPlan(
    const v1::StreamActivationsRequest& request, const ModelRegistry& registry,
    const RequestLimits& limits, const Cancelled& cancelled);

class ActivationsCall final
    : public OrderedStream<v1::StreamActivationsResponse> {
 public:
  // Borrows the engine.
  ActivationsCall(Engine& engine, ActivationsPlan plan, Priority priority);

  // Queues all prompts. Call once.
  void Start();

  void OnCancel() override;

 private:
  class Unit;

  void Submit(int64_t number);
  void Conclude(const absl::Status& status);

  Engine& engine_;
  const ActivationsPlan plan_;
  const Priority priority_;
  std::atomic<int64_t> row_count_ = 0;
  TaskGroup group_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_ACTIVATIONS_CALL_H_
