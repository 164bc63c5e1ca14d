// The inputs of a request as prompts of its variants, encoded once for each
// model, within limits. Thread safe.
#ifndef DISSONANCE_SERVER_WORKER_PROMPTS_H_
#define DISSONANCE_SERVER_WORKER_PROMPTS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/common.pb.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "server/worker/prompt_text.h"
#include "server/worker/variants.h"

namespace dissonance {

// Whether nobody waits for the answer any more.
using Cancelled = std::function<bool()>;

using Inputs = google::protobuf::RepeatedPtrField<v1::Input>;

// "inputs[6] (q17)", "inputs[6]" without an id.
std::string InputLabel(const Inputs& inputs, int index);

// The prompts of one model, at least one, none empty. Errors name the input;
// RESOURCE_EXHAUSTED over a limit, CANCELLED once `cancelled` says so.
using Prompts = std::shared_ptr<const std::vector<EncodedPrompt>>;
absl::StatusOr<Prompts> EncodePrompts(const ResidentModel& model,
                                      const Inputs& inputs,
                                      const RequestLimits& limits,
                                      const Cancelled& cancelled);

// The prompts of each variant.
absl::StatusOr<std::vector<Prompts>> EncodeForVariants(
    const std::vector<ResolvedVariant>& variants, const Inputs& inputs,
    const RequestLimits& limits, const Cancelled& cancelled);

// RESOURCE_EXHAUSTED if the prompts of all variants, each `sample_count` times
// with `new_count` tokens behind it, are more than a request may ask for.
absl::Status CheckSize(const std::vector<Prompts>& prompts,
                       int64_t sample_count, int64_t new_count,
                       const RequestLimits& limits);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_PROMPTS_H_
