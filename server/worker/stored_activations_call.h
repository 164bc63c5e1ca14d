// One StreamActivations RPC in flight that is answered from the store, a
// message at a time, from where the request's cursor says. Deletes itself.
#ifndef DISSONANCE_SERVER_WORKER_STORED_ACTIVATIONS_CALL_H_
#define DISSONANCE_SERVER_WORKER_STORED_ACTIVATIONS_CALL_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "dissonance/v1/interpretability.pb.h"
#include "grpcpp/support/server_callback.h"
#include "server/worker/activation_store.h"
#include "server/worker/activations_plan.h"
#include "src/compute/engine/engine_options.h"

namespace dissonance {

class StoredActivationsCall final
    : public grpc::ServerWriteReactor<v1::StreamActivationsResponse> {
 public:
  // Borrows the store.
  StoredActivationsCall(ActivationStore& store,
                        std::unique_ptr<ActivationStore::Reader> reader,
                        ActivationsPlan plan, const EngineOptions& engine)
      : store_(store),
        reader_(std::move(reader)),
        plan_(std::move(plan)),
        engine_(engine) {}

  // Call once.
  void Start();

  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

 private:
  // Passes over what the caller has already.
  absl::Status Skip();
  // Writes the next message, or ends.
  void WriteNext();
  void Fail(const absl::Status& status);

  ActivationStore& store_;
  const std::unique_ptr<ActivationStore::Reader> reader_;
  const ActivationsPlan plan_;
  const EngineOptions engine_;
  v1::StreamActivationsResponse message_;  // being written
  int64_t row_count_ = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_STORED_ACTIVATIONS_CALL_H_
