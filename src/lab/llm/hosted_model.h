// Hosted chat models as jobs name them. Pure; thread safe.
//
//   RETURN_IF_ERROR(FillHostedModel("judge.judge", /*temperature=*/0, model));
//   ChatRequest request = AskHosted(model, {{"user", "Hi"}});
#ifndef DISSONANCE_LAB_LLM_HOSTED_MODEL_H_
#define DISSONANCE_LAB_LLM_HOSTED_MODEL_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/language_jobs.pb.h"
#include "src/lab/llm/chat_messages.h"

namespace dissonance {

// Fills in what is unset. INVALID_ARGUMENT, beginning with `field`, for a model
// that nobody could be asked for.
absl::Status FillHostedModel(absl::string_view field, double temperature,
                             v1::HostedModel& model);

// A request to a model that was filled in.
ChatRequest AskHosted(const v1::HostedModel& model,
                      std::vector<ChatMessage> messages);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_LLM_HOSTED_MODEL_H_
