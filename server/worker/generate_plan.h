// A Generate request as work for the engine: what each sample computes and how
// its events are labelled. Values; thread safe.
#ifndef DISSONANCE_SERVER_WORKER_GENERATE_PLAN_H_
#define DISSONANCE_SERVER_WORKER_GENERATE_PLAN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/inference.pb.h"
#include "server/worker/meters.h"
#include "server/worker/prompts.h"
#include "server/worker/variants.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

// One sample of a request.
struct SamplePlace {
  int variant = 0;
  int input = 0;
  int sample = 0;
};

struct GeneratePlan {
  std::shared_ptr<const v1::GenerateRequest> request;
  std::vector<ResolvedVariant> variants;
  std::vector<Prompts> prompts;  // of each variant
  // Of each variant; null: none.
  std::vector<std::shared_ptr<const Meters>> meters;
  int sample_count = 1;

  bool EchoesTo(const SamplePlace& place) const {
    return request->echo() && place.sample == 0;
  }
  const EncodedPrompt& PromptOf(const SamplePlace& place) const {
    return (*prompts[place.variant])[place.input];
  }
  const Tokenizer* TokenizerFor(const SamplePlace& place) const {
    return variants[place.variant].model.tokenizer.get();  // null: none
  }
  GenerateTask TaskOf(const SamplePlace& place) const;
  std::string LabelOf(const SamplePlace& place) const {
    return InputLabel(request->inputs(), place.input);
  }
};

// How a prompt goes on, for a model: everything but prompt and capture.
// INVALID_ARGUMENT names the option that is out of its range.
absl::StatusOr<GenerateTask> GenerationTaskOf(
    const v1::GenerationOptions& options, const ResidentModel& model);

// Looks up, checks and encodes everything. Errors name the field.
absl::StatusOr<GeneratePlan> MakeGeneratePlan(
    const v1::GenerateRequest& request, ModelRegistry& registry,
    const RequestLimits& limits, const Cancelled& cancelled);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_GENERATE_PLAN_H_
