// JSON in the replies of models that were asked for one object. Pure; thread
// safe.
//
//   ASSIGN_OR_RETURN(nlohmann::json verdict, JsonObjectIn(reply.content));
#ifndef DISSONANCE_LAB_LLM_JSON_REPLY_H_
#define DISSONANCE_LAB_LLM_JSON_REPLY_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace dissonance {

// The one JSON object in a reply: alone, in a code fence, or between words, as
// models like to add them. INVALID_ARGUMENT if there is none.
absl::StatusOr<nlohmann::json> JsonObjectIn(absl::string_view reply);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_LLM_JSON_REPLY_H_
