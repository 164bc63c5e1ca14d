#include "server/control/openai_api.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "dissonance/v1/models.pb.h"
#include "nlohmann/json.hpp"
#include "server/control/openai_call.h"
#include "server/control/openai_error.h"
#include "server/control/openai_request.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr char kListModels[] = "/dissonance.v1.Models/ListModels";
constexpr char kListAdapters[] = "/dissonance.v1.Models/ListAdapters";
constexpr char kGenerate[] = "/dissonance.v1.Inference/Generate";

HttpResponse JsonAnswer(const json& body) {
  return {.content_type = "application/json",
          .body = body.dump(-1, ' ', false, json::error_handler_t::replace)};
}

// "models/M" as "M", "models/M/adapters/A" as "M:A".
std::string IdOf(absl::string_view name) {
  absl::ConsumePrefix(&name, "models/");
  const size_t slash = name.find("/adapters/");
  if (slash == absl::string_view::npos) return std::string(name);
  return absl::StrCat(name.substr(0, slash), ":",
                      name.substr(slash + sizeof("/adapters/") - 1));
}

json ModelJson(const std::string& name, absl::string_view owner) {
  absl::ConsumePrefix(&owner, "users/");
  // When it was made is not recorded, but clients want a number.
  return {{"id", IdOf(name)},
          {"object", "model"},
          {"created", 0},
          {"owned_by", owner}};
}

absl::Status AddAdapters(const OpenAiParts& parts,
                         const std::string& authorization,
                         const std::string& model, json& out) {
  v1::ListAdaptersRequest request;
  request.set_parent(model);
  v1::ListAdaptersResponse page;
  do {
    request.set_page_token(page.next_page_token());
    RETURN_IF_ERROR(
        parts.calls.Call(kListAdapters, authorization, request, page));
    for (const v1::Adapter& adapter : page.adapters()) {
      out.push_back(ModelJson(adapter.name(), adapter.owner()));
    }
  } while (!page.next_page_token().empty());
  return absl::OkStatus();
}

absl::StatusOr<json> ListModels(const OpenAiParts& parts,
                                const std::string& authorization) {
  RETURN_IF_ERROR(parts.gate.Check(kListModels, authorization));
  json out = json::array();
  v1::ListModelsRequest request;
  v1::ListModelsResponse page;
  do {
    request.set_page_token(page.next_page_token());
    RETURN_IF_ERROR(
        parts.calls.Call(kListModels, authorization, request, page));
    for (const v1::Model& model : page.models()) {
      out.push_back(ModelJson(model.name(), model.owner()));
      RETURN_IF_ERROR(AddAdapters(parts, authorization, model.name(), out));
    }
  } while (!page.next_page_token().empty());
  return json{{"object", "list"}, {"data", std::move(out)}};
}

HttpResponse Complete(const OpenAiParts& parts, const HttpRequest& http,
                      absl::StatusOr<OpenAiRequest> request) {
  if (!request.ok()) return OpenAiError(request.status());
  absl::StatusOr<std::unique_ptr<OpenAiCall>> begun =
      OpenAiCall::Begin(parts.calls, http, *std::move(request));
  if (!begun.ok()) return OpenAiError(begun.status());
  const std::shared_ptr<OpenAiCall> call = *std::move(begun);
  if (call->streams()) {
    return {.content_type = "text/event-stream",
            .next_piece = [call] { return call->NextPiece(); }};
  }
  const absl::StatusOr<json> whole = call->Whole();
  return whole.ok() ? JsonAnswer(*whole) : OpenAiError(whole.status());
}

using Parse = absl::StatusOr<OpenAiRequest> (*)(absl::string_view);

HttpPost CompletionRoute(const OpenAiParts& parts, Parse parse) {
  return {.body_limit_bytes = parts.body_limit_bytes,
          .refuse =
              [parts](const HttpRequest& http) -> std::optional<HttpResponse> {
            const absl::Status passed =
                parts.gate.Check(kGenerate, http.authorization);
            if (passed.ok()) return std::nullopt;
            return OpenAiError(passed);
          },
          .handler =
              [parts, parse](const HttpRequest& http) {
                return Complete(parts, http, parse(http.body));
              },
          .error =
              [](int code, const std::string& message) {
                return OpenAiError(code, absl::InvalidArgumentError(message));
              }};
}

}  // namespace

HttpRoutes OpenAiRoutes(const OpenAiParts& parts) {
  return {
      .gets = {{"/v1/models",
                [parts](const HttpRequest& http) {
                  const absl::StatusOr<json> models =
                      ListModels(parts, http.authorization);
                  return models.ok() ? JsonAnswer(*models)
                                     : OpenAiError(models.status());
                }}},
      .posts = {{"/v1/completions", CompletionRoute(parts, &ParseCompletion)},
                {"/v1/chat/completions",
                 CompletionRoute(parts, &ParseChatCompletion)}}};
}

}  // namespace dissonance
