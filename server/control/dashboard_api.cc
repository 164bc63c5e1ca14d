#include "server/control/dashboard_api.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.pb.h"
#include "nlohmann/json.hpp"
#include "server/control/dashboard_answer.h"
#include "server/control/dashboard_pages.h"
#include "server/control/dashboard_streams.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr char kListJobs[] = "/dissonance.v1.Jobs/ListJobs";
constexpr char kGetJob[] = "/dissonance.v1.Jobs/GetJob";
constexpr size_t kBodyLimitBytes = 1024;

absl::StatusOr<HttpResponse> WholeOverview(const DashboardParts& parts,
                                           const HttpRequest& http) {
  RETURN_IF_ERROR(parts.gate.Check(kListJobs, http.authorization));
  Overview overview(parts, http.authorization);
  ASSIGN_OR_RETURN(auto changes, overview.Changes());
  json body = json::object();
  for (auto& [part, shown] : changes) body[part] = std::move(shown);
  return JsonAnswer(body);
}

absl::StatusOr<HttpResponse> OneJob(const DashboardParts& parts,
                                    const HttpRequest& http) {
  RETURN_IF_ERROR(parts.gate.Check(kGetJob, http.authorization));
  v1::GetJobRequest request;
  request.set_name(absl::StrCat("jobs/", http.name));
  v1::GetJobResponse response;
  RETURN_IF_ERROR(
      parts.calls.Call(kGetJob, http.authorization, request, response));
  return JsonAnswer(JobJson(response.job(), kWhole));
}

// A page of another site says which; what is no browser says nothing.
bool IsOwnOrigin(const HttpRequest& http) {
  const std::string origin = http.header("Origin");
  if (origin.empty()) return true;
  const size_t scheme = origin.find("://");
  return scheme != std::string::npos &&
         absl::EqualsIgnoreCase(origin.substr(scheme + 3), http.header("Host"));
}

std::optional<HttpResponse> RefusePost(const DashboardParts& parts,
                                       const std::string& method,
                                       const HttpRequest& http) {
  if (!IsOwnOrigin(http)) {
    return ErrorAnswer(absl::PermissionDeniedError(
        "the request comes from a page of another site"));
  }
  const std::string type = http.header("Content-Type");
  if (type != "application/json" &&
      !absl::StartsWith(type, "application/json;")) {
    return ErrorAnswer(
        415, absl::InvalidArgumentError("Content-Type: give application/json"));
  }
  const absl::Status passed = parts.gate.Check(method, http.authorization);
  if (!passed.ok()) return ErrorAnswer(passed);
  return std::nullopt;
}

// An action on a job whose request has its name only and whose response has the
// job.
template <typename Request, typename Response>
HttpPost ActionRoute(const DashboardParts& parts, absl::string_view rpc) {
  const std::string method = absl::StrCat("/dissonance.v1.Jobs/", rpc);
  return {.body_limit_bytes = kBodyLimitBytes,
          .refuse =
              [parts, method](const HttpRequest& http) {
                return RefusePost(parts, method, http);
              },
          .handler =
              [parts, method](const HttpRequest& http) {
                Request request;
                request.set_name(absl::StrCat("jobs/", http.name));
                Response response;
                const absl::Status status = parts.calls.Call(
                    method, http.authorization, request, response);
                return status.ok() ? JsonAnswer(JobJson(response.job(), kWhole))
                                   : ErrorAnswer(status);
              },
          .error =
              [](int code, const std::string& message) {
                return ErrorAnswer(code, absl::InvalidArgumentError(message));
              }};
}

// Errors of `handle` as answers.
template <typename Handle>
HttpHandler Route(Handle handle) {
  return [handle = std::move(handle)](const HttpRequest& http) {
    absl::StatusOr<HttpResponse> answer = handle(http);
    return answer.ok() ? *std::move(answer) : ErrorAnswer(answer.status());
  };
}

}  // namespace

HttpRoutes DashboardRoutes(const DashboardParts& parts) {
  const auto streams = std::make_shared<DashboardStreams>(parts);
  HttpRoutes routes = {
      .gets = {{"/api/overview", Route([parts](const HttpRequest& http) {
                  return WholeOverview(parts, http);
                })},
               {"/api/events", Route([streams](const HttpRequest& http) {
                  return streams->Overview(http);
                })},
               {"/api/jobs/*", Route([parts](const HttpRequest& http) {
                  return OneJob(parts, http);
                })},
               {"/api/jobs/*/events", Route([streams](const HttpRequest& http) {
                  return streams->Job(http);
                })},
               {"/api/artifacts/*", Route([streams](const HttpRequest& http) {
                  return streams->Artifact(http);
                })}},
      .posts = {{"/api/jobs/*/cancel",
                 ActionRoute<v1::CancelJobRequest, v1::CancelJobResponse>(
                     parts, "CancelJob")},
                {"/api/jobs/*/retry",
                 ActionRoute<v1::RetryJobRequest, v1::RetryJobResponse>(
                     parts, "RetryJob")},
                {"/api/jobs/*/pause",
                 ActionRoute<v1::PauseJobRequest, v1::PauseJobResponse>(
                     parts, "PauseJob")},
                {"/api/jobs/*/resume",
                 ActionRoute<v1::ResumeJobRequest, v1::ResumeJobResponse>(
                     parts, "ResumeJob")}}};
  routes.gets.merge(DashboardPages());
  return routes;
}

}  // namespace dissonance
