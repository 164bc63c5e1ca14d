#include "server/control/openai_error.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/control/http_status.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr char kParam[] = "dissonance/param";
constexpr char kRequest[] = "invalid_request_error";

// How OpenAI calls what happened.
struct Kind {
  const char* type = "server_error";
  const char* code = nullptr;
};

Kind KindOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return {kRequest};
    case absl::StatusCode::kUnauthenticated:
      return {"authentication_error", "invalid_api_key"};
    case absl::StatusCode::kPermissionDenied:
      return {"permission_error"};
    case absl::StatusCode::kNotFound:
      return {kRequest, "model_not_found"};
    case absl::StatusCode::kResourceExhausted:
      return {"rate_limit_error", "rate_limit_exceeded"};
    default:
      return {};
  }
}

std::optional<std::string> PayloadOf(const absl::Status& status,
                                     const char* type) {
  const auto payload = status.GetPayload(type);
  if (!payload.has_value()) return std::nullopt;
  return std::string(*payload);
}

json OrNull(const std::optional<std::string>& text) {
  return text.has_value() ? json(*text) : json();
}

}  // namespace

absl::Status BadField(absl::string_view field, absl::string_view why) {
  absl::Status status =
      absl::InvalidArgumentError(absl::StrCat(field, ": ", why));
  status.SetPayload(kParam, absl::Cord(field));
  return status;
}

json OpenAiErrorBody(const absl::Status& status) {
  const Kind kind = KindOf(status.code());
  return {{"error",
           {{"message", status.message()},
            {"type", kind.type},
            {"param", OrNull(PayloadOf(status, kParam))},
            {"code", kind.code == nullptr ? json() : json(kind.code)}}}};
}

HttpResponse OpenAiError(const absl::Status& status) {
  return OpenAiError(HttpCodeOf(status.code()), status);
}

HttpResponse OpenAiError(int http_code, const absl::Status& status) {
  HttpResponse answer = {.code = http_code,
                         .content_type = "application/json",
                         .body = OpenAiErrorBody(status).dump(
                             -1, ' ', false, json::error_handler_t::replace)};
  AddErrorHeaders(status, answer);
  return answer;
}

}  // namespace dissonance
