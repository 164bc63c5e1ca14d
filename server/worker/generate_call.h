// One Generate RPC in flight: its samples run in the engine, no thread waits
// for them, and each token is sent as it comes. Samples of one input share its
// prompt: the others start when the first has computed it. Deletes itself.
//
//   auto* call = new GenerateCall(engine, *std::move(plan), priority);
//   call->Start();
//   return call;
#ifndef DISSONANCE_SERVER_WORKER_GENERATE_CALL_H_
#define DISSONANCE_SERVER_WORKER_GENERATE_CALL_H_

#include <atomic>
#include <cstdint>

#include "dissonance/v1/inference.pb.h"
#include "server/worker/generate_plan.h"
#include "server/worker/stream_call.h"
#include "server/worker/task_group.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

class GenerateCall final : public StreamCall<v1::GenerateResponse> {
 public:
  // Borrows the engine.
  GenerateCall(Engine& engine, GeneratePlan plan, Priority priority);

  // Queues the first samples. Call once.
  void Start();

  void OnCancel() override;

 private:
  class Sample;

  void Add(const SamplePlace& place);
  // The first sample's prompt was computed.
  void AddOthers(const SamplePlace& first);
  void Conclude(const absl::Status& status);

  Engine& engine_;
  const GeneratePlan plan_;
  const Priority priority_;
  std::atomic<int64_t> generated_tokens_ = 0;
  TaskGroup group_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_GENERATE_CALL_H_
