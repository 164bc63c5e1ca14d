// What the dashboard's routes answer: messages of the public API as JSON, by
// their proto field names, enums by name, 64-bit integers as strings (see
// protobuf's JSON mapping); errors as {"error": {"code", "message"}}. Thread
// safe.
//
//   return status.ok() ? JsonAnswer(JobJson(job, kWhole)) :
//   ErrorAnswer(status);
#ifndef DISSONANCE_SERVER_CONTROL_DASHBOARD_ANSWER_H_
#define DISSONANCE_SERVER_CONTROL_DASHBOARD_ANSWER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.pb.h"
#include "google/protobuf/message.h"
#include "nlohmann/json.hpp"
#include "server/control/http_server.h"

namespace dissonance {

// How much of a long value is shown; the rest is counted.
struct Shown {
  size_t characters;
  size_t elements;
};
inline constexpr Shown kWhole = {.characters = 4000, .elements = 200};
inline constexpr Shown kInList = {.characters = 300, .elements = 8};

// Also what is not set, but messages.
nlohmann::json MessageJson(const google::protobuf::Message& message);
// `json` with long texts and arrays cut: "...", and how much is left out.
nlohmann::json Shortened(nlohmann::json json, const Shown& shown);
// A job without the bytes of its data, with its `kind`, e.g. "evaluate_mcq".
nlohmann::json JobJson(const v1::Job& job, const Shown& shown);

HttpResponse JsonAnswer(const nlohmann::json& body);
HttpResponse ErrorAnswer(const absl::Status& status);
// The same with another HTTP code, e.g. 415.
HttpResponse ErrorAnswer(int http_code, const absl::Status& status);

// A server-sent event. `id` is what a reader says that it has had when it comes
// again; 0: none.
std::string ServerSentEvent(absl::string_view event, const nlohmann::json& data,
                            int64_t id = 0);
// An error as the last event of a stream.
std::string ServerSentError(const absl::Status& status);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_DASHBOARD_ANSWER_H_
