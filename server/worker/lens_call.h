// One LogitLens RPC in flight; see ReadingCall. Deletes itself.
#ifndef DISSONANCE_SERVER_WORKER_LENS_CALL_H_
#define DISSONANCE_SERVER_WORKER_LENS_CALL_H_

#include <algorithm>
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
struct LensPlan {
  std::shared_ptr<const v1::LogitLensRequest> request;
  std::vector<ResolvedVariant> variants;
  std::vector<Prompts> prompts;                              // of each variant
  std::vector<std::shared_ptr<const CaptureSpec>> captures;  // likewise
  std::vector<int32_t> candidates;

  int64_t unit_count() const {
    return static_cast<int64_t>(variants.size()) * request->inputs_size();
  }
  // Of the variant that has most.
  int64_t most_layers() const {
    size_t most = 0;
    for (const auto& own : captures) most = std::max(most, own->places.size());
    return static_cast<int64_t>(most);
  }
};

// Errors name the field.
absl::StatusOr<LensPlan> MakeLensPlan(const v1::LogitLensRequest& request,
                                      ModelRegistry& registry,
                                      const RequestLimits& limits,
                                      const Cancelled& cancelled);

class LensCall final : public ReadingCall<v1::LogitLensResponse> {
 public:
  // Borrows the engine.
  LensCall(Engine& engine, LensPlan plan, Priority priority);

 private:
  size_t VariantOf(int64_t unit) const {
    return static_cast<size_t>(unit / plan_.request->inputs_size());
  }
  int InputOf(int64_t unit) const {
    return static_cast<int>(unit % plan_.request->inputs_size());
  }
  const std::vector<int32_t>& TokensOf(int64_t unit) const {
    return (*plan_.prompts[VariantOf(unit)])[static_cast<size_t>(InputOf(unit))]
        .tokens;
  }

  std::vector<ReadingMember> MembersOf(int64_t unit) const override;
  std::string LabelOf(int64_t unit) const override {
    return InputLabel(plan_.request->inputs(), InputOf(unit));
  }
  void Read(int64_t unit, const std::vector<CapturedRows>& rows) override;
  v1::LogitLensResponse Summary() const override;

  const LensPlan plan_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_LENS_CALL_H_
