// Attribution patching (Nanda 2023): what all patches of one input would do, to
// first order, from one pass forward and one backward: the gradient of the
// logit difference times the difference of both rows. Background work of the
// engine. Borrows nothing.
//
//   RETURN_IF_ERROR(engine.SubmitWork(
//       std::make_shared<AttributionWork>(std::move(task), done)));
#ifndef DISSONANCE_SERVER_WORKER_ATTRIBUTION_WORK_H_
#define DISSONANCE_SERVER_WORKER_ATTRIBUTION_WORK_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/compute/engine/engine_work.h"
#include "src/compute/interp/capture.h"
#include "src/compute/lora/adapter.h"
#include "src/compute/model/model.h"

namespace dissonance {

// What one patch replaces at a position.
struct PatchPlace {
  size_t captured = 0;               // index into the capture's places
  std::optional<int64_t> head = {};  // unset: all of it
};

struct AttributionTask {
  std::shared_ptr<const Model> model;
  std::shared_ptr<const LoraAdapter> adapter;  // of the target; null: base
  std::vector<int32_t> tokens;                 // what the target reads
  std::pair<int32_t, int32_t> candidates;      // first less second
  std::vector<SitePlace> captured;
  // Of the source, by place: [positions, width] or [positions, heads, width].
  std::vector<at::Tensor> rows;
  std::vector<int64_t> positions;
  std::vector<PatchPlace> patches;
};

class AttributionWork final : public EngineWork {
 public:
  // Changes of the logit difference, by patch, then position.
  using Done = std::function<void(absl::StatusOr<std::vector<double>>)>;

  // `cancelled` is asked before it begins; `done` is called once.
  AttributionWork(AttributionTask task, std::function<bool()> cancelled,
                  Done done)
      : task_(std::move(task)),
        cancelled_(std::move(cancelled)),
        done_(std::move(done)) {}

  bool RunPiece() override;
  void Finish(const absl::Status& status) override;
  bool is_background() const override { return true; }
  bool cancelled() const override { return cancelled_(); }

 private:
  const AttributionTask task_;
  const std::function<bool()> cancelled_;
  const Done done_;
  absl::StatusOr<std::vector<double>> changes_ =
      absl::InternalError("attribution was not computed");
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_ATTRIBUTION_WORK_H_
