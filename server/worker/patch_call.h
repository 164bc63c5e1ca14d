// One Patch RPC in flight: the source's rows are kept first, then every patch
// is scored as a sequence of its own, many in a batch. Deletes itself.
#ifndef DISSONANCE_SERVER_WORKER_PATCH_CALL_H_
#define DISSONANCE_SERVER_WORKER_PATCH_CALL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/interpretability.pb.h"
#include "grpcpp/support/server_callback.h"
#include "server/worker/attribution_work.h"
#include "server/worker/prompts.h"
#include "server/worker/task_group.h"
#include "server/worker/variants.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

// A request, looked up, checked and encoded.
struct PatchPlan {
  std::shared_ptr<const v1::PatchRequest> request;
  ResolvedVariant source;
  ResolvedVariant target;
  Prompts source_prompts;
  Prompts target_prompts;
  std::shared_ptr<const CaptureSpec> capture;  // of the source
  std::vector<int32_t> candidates;             // two
  // What is patched of the capture's places, in the order of results.
  std::vector<PatchPlace> places;
  // Of each input, ascending.
  std::vector<std::vector<int64_t>> positions;
};

// Errors name the field.
absl::StatusOr<PatchPlan> MakePatchPlan(const v1::PatchRequest& request,
                                        ModelRegistry& registry,
                                        const RequestLimits& limits,
                                        const Cancelled& cancelled);

class PatchCall final : public grpc::ServerUnaryReactor {
 public:
  // Borrows the engine and the response.
  PatchCall(Engine& engine, PatchPlan plan, Priority priority,
            v1::PatchResponse& response);

  // Queues what the patches need. Call once.
  void Start();

  void OnCancel() override;
  void OnDone() override { delete this; }

 private:
  class Source;

  // What an input's passes gave: logit of the first candidate less that of the
  // second.
  struct Deltas {
    double source = 0.0;
    double target = 0.0;
    // By place, then position; of attribution the change.
    std::vector<double> patched;
  };

  using Numbers = std::vector<int64_t>;

  void AddSource(size_t input);
  absl::StatusOr<Numbers> SubmitScore(const EngineVariant& variant,
                                      const std::vector<int32_t>& tokens,
                                      size_t input, double& delta);
  // The source's rows of an input, by place.
  void AddPatches(size_t input, const std::vector<at::Tensor>& rows);
  void AddAttribution(size_t input, const std::vector<at::Tensor>& rows);
  bool is_attribution() const {
    return plan_.request->method() == v1::PATCH_METHOD_ATTRIBUTION;
  }
  // `place` and `position` count the plan's; `row` is the source's there,
  // whole.
  absl::StatusOr<Numbers> SubmitPatch(size_t input, size_t place,
                                      size_t position, const at::Tensor& row,
                                      double& delta);
  absl::StatusOr<EngineVariant> Patched(const PatchPlace& place,
                                        int64_t position,
                                        const at::Tensor& row) const;
  std::string LabelOf(size_t input) const {
    return InputLabel(plan_.request->inputs(), static_cast<int>(input));
  }
  void Conclude(const absl::Status& status);
  void FillResponse();

  Engine& engine_;
  const PatchPlan plan_;
  const Priority priority_;
  v1::PatchResponse& response_;
  std::vector<Deltas> deltas_;  // of each input; each number written once
  TaskGroup group_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_PATCH_CALL_H_
