// One TrainProbes RPC in flight: rows are captured first, then places are
// fitted, a few at once, piece by piece in the background of the engine, and
// each is sent in its turn, when its rows are given up. Deletes itself. Thread
// safe.
#ifndef DISSONANCE_SERVER_WORKER_TRAIN_PROBES_CALL_H_
#define DISSONANCE_SERVER_WORKER_TRAIN_PROBES_CALL_H_

#include <atomic>
#include <optional>

#include "absl/status/status.h"
#include "dissonance/v1/probes.pb.h"
#include "server/worker/stream_call.h"
#include "server/worker/train_probes_plan.h"
#include "server/worker/variant_rows.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

class TrainProbesCall final : public StreamCall<v1::TrainProbesResponse> {
 public:
  // Borrows the engine.
  TrainProbesCall(Engine& engine, TrainProbesPlan plan, Priority priority);

  // Sends how inputs are divided and queues what is to be captured. Call once.
  void Start();

  void OnCancel() override;

 private:
  class Fits;

  // All rows are here.
  void Fit(RowMatrices matrices);
  void Conclude(const absl::Status& status);

  Engine& engine_;
  TrainProbesPlan plan_;
  std::optional<VariantRows> rows_;  // none of rows that are given
  std::atomic<bool> is_cancelled_ = false;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_TRAIN_PROBES_CALL_H_
