// One StreamActivations RPC in flight: its prompts run in the engine and what
// they keep is sent by variant, then input, as it comes. Deletes itself.
#ifndef DISSONANCE_SERVER_WORKER_ACTIVATIONS_CALL_H_
#define DISSONANCE_SERVER_WORKER_ACTIVATIONS_CALL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/interpretability.pb.h"
#include "server/worker/activation_store.h"
#include "server/worker/activations_plan.h"
#include "server/worker/ordered_stream.h"
#include "server/worker/task_group.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

class ActivationsCall final
    : public OrderedStream<v1::StreamActivationsResponse> {
 public:
  // Borrows the engine and the store, which gets what is sent; null: none.
  ActivationsCall(Engine& engine, ActivationsPlan plan, Priority priority,
                  ActivationStore* store);

  // Queues all prompts. Call once.
  void Start();

  void OnCancel() override;

 protected:
  void OnMessage(const v1::StreamActivationsResponse& message) override;

 private:
  class Unit;

  absl::StatusOr<std::vector<int64_t>> Submit(int64_t number);
  void Conclude(const absl::Status& status);

  Engine& engine_;
  const ActivationsPlan plan_;
  const Priority priority_;
  std::unique_ptr<ActivationStore::Recording> recording_;  // null: none
  std::atomic<int64_t> row_count_ = 0;
  TaskGroup group_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_ACTIVATIONS_CALL_H_
