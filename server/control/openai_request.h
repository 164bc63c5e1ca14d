// Requests of OpenAI's API as those of Inference.Generate: bodies of
// POST /v1/completions and /v1/chat/completions. Fields that are not known are
// ignored, as other servers' clients send them; those that change the answer
// and can't be honoured are refused. Values; thread safe.
//
//   ASSIGN_OR_RETURN(OpenAiRequest request,
//                    ParseCompletion(R"({"model": "tiny:cubic",
//                                        "prompt": [1, 52, 7]})"));
#ifndef DISSONANCE_SERVER_CONTROL_OPENAI_REQUEST_H_
#define DISSONANCE_SERVER_CONTROL_OPENAI_REQUEST_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/inference.pb.h"

namespace dissonance {

struct OpenAiRequest {
  bool is_chat = false;
  std::string model;  // as the client calls it: "M" or "M:A"
  // Its options' max_new_token_count is 0 where the model's last position is
  // the only limit.
  v1::GenerateRequest generate;
  bool wants_logprobs = false;
  // The prompt alone was asked for; the one token that is made all the same
  // is left out of the answer.
  bool drops_new_tokens = false;
  bool streams = false;
  bool includes_usage = false;  // at a stream's end
};

// INVALID_ARGUMENT, naming the field (see openai_error.h). What only the model
// can tell, e.g. the vocabulary, is left to Generate.
absl::StatusOr<OpenAiRequest> ParseCompletion(absl::string_view body);
absl::StatusOr<OpenAiRequest> ParseChatCompletion(absl::string_view body);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_OPENAI_REQUEST_H_
