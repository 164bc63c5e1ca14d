// A worker's training as a function of what it is sent, message by message, and
// a catalog of adapters in memory. Both can be told to fail. For one thread.
#ifndef DISSONANCE_TESTS_LAB_FINETUNE_FAKE_TRAINING_H_
#define DISSONANCE_TESTS_LAB_FINETUNE_FAKE_TRAINING_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/lab/finetune/adapter_registrar.h"
#include "src/lab/finetune/training_client.h"

namespace dissonance {

// Of step_count steps. A checkpoint's state holds the sum of all losses before
// it, on which later losses depend, so a training that goes on from a wrong
// state shows.
class FakeTraining : public TrainingClient {
 public:
  absl::StatusOr<std::unique_ptr<TrainingSession>> Train(
      const internal::v1::TrainBegin& begin,
      const CallOptions& options) override;

  int64_t step_count = 7;
  int64_t validation_step_count = 3;  // 0: none
  int64_t early_stop_step = 0;        // 0: none
  int64_t best_step = 0;              // whose weights come out; 0: the last's
  std::string digest = "sha256:plan";
  // Added to every loss: a machine that computes otherwise.
  double loss_shift = 0;
  // Receives of messages, over all sessions, before the worker is lost.
  int64_t messages_left = std::numeric_limits<int64_t>::max();
  absl::Status loss = absl::UnavailableError("the worker was lost");
  // What is said to a checkpoint of a step.
  std::map<int64_t, absl::Status> refusals;
  // Called before each message is given.
  std::function<void(const internal::v1::TrainResponse&)> on_message;

  // Sessions' begins, documents, and the start steps of those that began.
  std::vector<internal::v1::TrainBegin> begins;
  std::vector<internal::v1::TrainingDocument> documents;  // of the last
  std::vector<int64_t> start_steps;
  int go_on_count = 0;
  int stop_count = 0;
  int64_t received_count = 0;

 private:
  class Session;
};

class FakeRegistrar : public AdapterRegistrar {
 public:
  absl::StatusOr<v1::Adapter> Register(
      const std::string& user, const v1::RegisterAdapterRequest& request,
      const CallOptions& options) override;
  absl::Status Unregister(const std::string& user,
                          const std::string& name) override;
  absl::StatusOr<std::optional<v1::Adapter>> Find(
      const std::string& name) override;

  std::map<std::string, v1::Adapter> adapters;
  std::vector<std::string> registered;  // names, in order
  absl::Status failure;                 // of Register
  std::string stuck;                    // what Unregister fails for
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_FINETUNE_FAKE_TRAINING_H_
