// One CompareVariants RPC in flight; see ReadingCall. Deletes itself.
#ifndef DISSONANCE_SERVER_WORKER_COMPARE_CALL_H_
#define DISSONANCE_SERVER_WORKER_COMPARE_CALL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/interpretability.pb.h"
#include "server/worker/prompts.h"
#include "server/worker/reading_call.h"
#include "server/worker/variants.h"

namespace dissonance {

// A request, looked up, checked and encoded.
struct ComparePlan {
  std::shared_ptr<const v1::CompareVariantsRequest> request;
  std::vector<ResolvedVariant> variants;  // of one model
  Prompts prompts;
  std::shared_ptr<const CaptureSpec> capture;  // resid_post, then logits
};

// Errors name the field.
absl::StatusOr<ComparePlan> MakeComparePlan(
    const v1::CompareVariantsRequest& request, ModelRegistry& registry,
    const RequestLimits& limits, const Cancelled& cancelled);

class CompareCall final : public ReadingCall<v1::CompareVariantsResponse> {
 public:
  // Borrows the engine.
  CompareCall(Engine& engine, ComparePlan plan, Priority priority);

 private:
  const std::vector<int32_t>& TokensOf(int64_t unit) const {
    return (*plan_.prompts)[static_cast<size_t>(unit)].tokens;
  }

  std::vector<ReadingMember> MembersOf(int64_t unit) const override;
  std::string LabelOf(int64_t unit) const override {
    return InputLabel(plan_.request->inputs(), static_cast<int>(unit));
  }
  void Read(int64_t unit, const std::vector<CapturedRows>& rows) override;
  v1::CompareVariantsResponse Summary() const override;

  const ComparePlan plan_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_COMPARE_CALL_H_
