// One FitDirections RPC in flight: rows are captured first, then a direction is
// fitted place by place, in the background of the engine. Deletes itself.
// Thread safe.
#ifndef DISSONANCE_SERVER_WORKER_FIT_DIRECTIONS_CALL_H_
#define DISSONANCE_SERVER_WORKER_FIT_DIRECTIONS_CALL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/probes.pb.h"
#include "grpcpp/support/server_callback.h"
#include "server/worker/training_budget.h"
#include "server/worker/variant_rows.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

// A request, looked up, checked and encoded, with the memory that it needs.
struct FitDirectionsPlan {
  VariantRowsPlan rows;
  std::string digest;  // of the request
  v1::DirectionMethod method = v1::DIRECTION_METHOD_MEAN_DIFFERENCE;
  std::vector<int32_t> classes;  // of each input; empty: none are needed
  std::vector<std::string> groups;
  // See FitDirectionsResponse.
  std::vector<int32_t> row_counts;
  TrainingBudget::Lease lease;
};

// Errors name the field. RESOURCE_EXHAUSTED, with figures, if the rows do not
// fit into the budget, which outlives the plan.
absl::StatusOr<FitDirectionsPlan> MakeFitDirectionsPlan(
    const v1::FitDirectionsRequest& request, ModelRegistry& registry,
    const RequestLimits& limits, TrainingBudget& budget,
    const Cancelled& cancelled);

class FitDirectionsCall final : public grpc::ServerUnaryReactor {
 public:
  // Borrows the engine and the response.
  FitDirectionsCall(Engine& engine, FitDirectionsPlan plan, Priority priority,
                    v1::FitDirectionsResponse& response);

  // Queues what is to be captured. Call once.
  void Start();

  void OnCancel() override;
  void OnDone() override { delete this; }

 private:
  class Fits;

  void Conclude(const absl::Status& status);

  Engine& engine_;
  FitDirectionsPlan plan_;
  v1::FitDirectionsResponse& response_;
  std::atomic<bool> is_cancelled_ = false;
  VariantRows rows_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_FIT_DIRECTIONS_CALL_H_
