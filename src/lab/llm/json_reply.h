// JSON in the replies of models that were asked for one object. Replies are
// whatever an endpoint sent: time goes with their length, and what is nested
// deeply is refused. Pure; thread safe.
//
//   ASSIGN_OR_RETURN(nlohmann::json items, JsonObjectIn(reply.content));
#ifndef DISSONANCE_LAB_LLM_JSON_REPLY_H_
#define DISSONANCE_LAB_LLM_JSON_REPLY_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace dissonance {

// The JSON objects in a reply, those within others left out, in order: alone,
// in a code fence, or between words, as models like to add them.
// INVALID_ARGUMENT if there is none, with what is wrong with the first that
// looks like one (not JSON, a key that appears twice, nested deeper than 64
// levels); if too many look like one.
absl::StatusOr<std::vector<nlohmann::json>> JsonObjectsIn(
    absl::string_view reply);

// The first of them.
absl::StatusOr<nlohmann::json> JsonObjectIn(absl::string_view reply);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_LLM_JSON_REPLY_H_
