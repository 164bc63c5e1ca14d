// A reader that can stop reading.
//
//   auto gate = std::make_shared<Gate>(result);
//   gate->is_shut = true;
#ifndef DISSONANCE_TESTS_TESTING_GATE_H_
#define DISSONANCE_TESTS_TESTING_GATE_H_

#include <memory>
#include <utility>

#include "tests/testing/compute_goldens.h"

namespace dissonance {

// Collects everything into a result, which must live on; takes nothing while it
// is shut. For engines that are run by hand.
class Gate final : public GenerateListener {
 public:
  explicit Gate(GenerateResult& result) : behind_(CollectInto(result)) {}

  bool ready() const override { return !is_shut; }
  void OnPromptToken(GeneratedToken token) override {
    behind_->OnPromptToken(std::move(token));
  }
  bool OnToken(GeneratedToken token) override {
    return behind_->OnToken(std::move(token));
  }
  void OnCaptured(CapturedRows rows) override {
    behind_->OnCaptured(std::move(rows));
  }
  void OnEnd(absl::StatusOr<FinishReason> reason) override {
    behind_->OnEnd(std::move(reason));
  }

  bool is_shut = false;

 private:
  const std::shared_ptr<GenerateListener> behind_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_TESTING_GATE_H_
