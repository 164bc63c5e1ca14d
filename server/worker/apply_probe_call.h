// One ApplyProbe RPC in flight: its prompts run in the engine, and of the rows
// only the readings are kept. Deletes itself.
#ifndef DISSONANCE_SERVER_WORKER_APPLY_PROBE_CALL_H_
#define DISSONANCE_SERVER_WORKER_APPLY_PROBE_CALL_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/probes.pb.h"
#include "grpcpp/alarm.h"
#include "grpcpp/support/server_callback.h"
#include "server/worker/meters.h"
#include "server/worker/prompts.h"
#include "server/worker/task_group.h"
#include "server/worker/variants.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

// A request, looked up, checked and encoded.
struct ApplyProbePlan {
  std::shared_ptr<const v1::ApplyProbeRequest> request;
  std::vector<ResolvedVariant> variants;
  std::shared_ptr<const Meters> meters;
  Prompts prompts;
  std::shared_ptr<const CaptureSpec> capture;
};

// Errors name the field.
absl::StatusOr<ApplyProbePlan> MakeApplyProbePlan(
    const v1::ApplyProbeRequest& request, ModelRegistry& registry,
    const RequestLimits& limits, const Cancelled& cancelled);

class ApplyProbeCall final : public grpc::ServerUnaryReactor {
 public:
  // Borrows the engine and the response.
  ApplyProbeCall(Engine& engine, ApplyProbePlan plan, Priority priority,
                 v1::ApplyProbeResponse& response);

  // Queues all prompts. Call once.
  void Start();

  void OnCancel() override;
  void OnDone() override { delete this; }

 private:
  class Unit;

  absl::StatusOr<std::vector<int64_t>> Submit(int64_t unit);
  void Respond(const absl::Status& status);

  Engine& engine_;
  const ApplyProbePlan plan_;
  const Priority priority_;
  v1::ApplyProbeResponse& response_;
  // Of each variant and input; each written by its own unit.
  std::vector<std::vector<Meters::Reading>> readings_;
  grpc::Alarm alarm_;
  TaskGroup group_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_APPLY_PROBE_CALL_H_
