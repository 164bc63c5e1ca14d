#include "server/control/admin_service.h"

#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "google/protobuf/util/time_util.h"
#include "server/control/auth.h"
#include "server/control/grpc_status.h"
#include "server/control/user_admin.h"
#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/lab/backup/backup.h"

namespace dissonance {
namespace {

using Context = grpc::ServerContext;
using google::protobuf::util::TimeUtil;

constexpr uint64_t kStatmLimitBytes = 4096;
constexpr size_t kMaxReason = 200;
constexpr char kDefaultReason[] = "maintenance";

// 0 where the system does not say.
int64_t ResidentBytes() {
  const absl::StatusOr<std::string> text =
      ReadFile("/proc/self/statm", kStatmLimitBytes);
  if (!text.ok()) return 0;
  const std::vector<std::string> fields = absl::StrSplit(*text, ' ');
  int64_t pages = 0;
  if (fields.size() < 2 || !absl::SimpleAtoi(fields[1], &pages)) return 0;
  return pages * ::sysconf(_SC_PAGESIZE);
}

v1::Caller Describe(const Principal& principal) {
  v1::Caller caller;
  caller.set_user(NameOfUser(principal.user));
  caller.set_scope(principal.scope);
  caller.set_token(principal.token);
  if (principal.expiry != absl::InfiniteFuture()) {
    *caller.mutable_expire_time() =
        TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(principal.expiry));
  }
  return caller;
}

class AdminService final : public v1::Admin::Service {
 public:
  AdminService(v1::ServerInfoResponse fixed, AdminSources sources,
               const AdminParts& parts)
      : fixed_(std::move(fixed)),
        sources_(std::move(sources)),
        parts_(parts),
        users_(parts.records, parts.quotas, Clock::Real()) {}

  grpc::Status ServerInfo(Context* context,
                          const v1::ServerInfoRequest* /*request*/,
                          v1::ServerInfoResponse* response) override {
    return ByCaller(*context, [&](const Principal& caller) -> absl::Status {
      *response = fixed_;
      for (std::string& address : sources_.addresses()) {
        response->add_addresses(std::move(address));
      }
      for (v1::Worker& worker : sources_.workers()) {
        *response->add_workers() = std::move(worker);
      }
      response->set_draining(sources_.draining());
      response->set_resident_bytes(ResidentBytes());
      *response->mutable_uptime() = TimeUtil::NanosecondsToDuration(
          absl::ToInt64Nanoseconds(Clock::Real().Monotonic() - start_));
      *response->mutable_caller() = Describe(caller);
      ASSIGN_OR_RETURN(*response->mutable_maintenance(),
                       parts_.maintenance.reason());
      return absl::OkStatus();
    });
  }
  grpc::Status CreateUser(Context* /*context*/,
                          const v1::CreateUserRequest* request,
                          v1::CreateUserResponse* response) override {
    return Answer(users_.CreateUser(*request), response->mutable_user());
  }
  grpc::Status GetUser(Context* context, const v1::GetUserRequest* request,
                       v1::GetUserResponse* response) override {
    return ByCaller(*context, [&](const Principal& caller) -> absl::Status {
      ASSIGN_OR_RETURN(*response->mutable_user(),
                       users_.GetUser(caller, request->name()));
      return absl::OkStatus();
    });
  }
  grpc::Status ListUsers(Context* /*context*/,
                         const v1::ListUsersRequest* request,
                         v1::ListUsersResponse* response) override {
    return Answer(users_.ListUsers(*request), response);
  }
  grpc::Status SetQuota(Context* /*context*/,
                        const v1::SetQuotaRequest* request,
                        v1::SetQuotaResponse* response) override {
    return Answer(users_.SetQuota(*request), response->mutable_user());
  }
  grpc::Status CreateToken(Context* context,
                           const v1::CreateTokenRequest* request,
                           v1::CreateTokenResponse* response) override {
    return ByCaller(*context, [&](const Principal& caller) -> absl::Status {
      ASSIGN_OR_RETURN(*response, users_.CreateToken(caller, *request));
      return absl::OkStatus();
    });
  }
  grpc::Status ListTokens(Context* context,
                          const v1::ListTokensRequest* request,
                          v1::ListTokensResponse* response) override {
    return ByCaller(*context, [&](const Principal& caller) -> absl::Status {
      ASSIGN_OR_RETURN(*response, users_.ListTokens(caller, *request));
      return absl::OkStatus();
    });
  }
  grpc::Status RotateToken(Context* context,
                           const v1::RotateTokenRequest* request,
                           v1::RotateTokenResponse* response) override {
    return ByCaller(*context, [&](const Principal& caller) -> absl::Status {
      ASSIGN_OR_RETURN(*response, users_.RotateToken(caller, *request));
      parts_.housekeeper.EndStreamsOfEndedTokens();
      return absl::OkStatus();
    });
  }
  grpc::Status RevokeToken(Context* context,
                           const v1::RevokeTokenRequest* request,
                           v1::RevokeTokenResponse* response) override {
    return ByCaller(*context, [&](const Principal& caller) -> absl::Status {
      ASSIGN_OR_RETURN(*response->mutable_token(),
                       users_.RevokeToken(caller, request->name()));
      parts_.housekeeper.EndStreamsOfEndedTokens();
      return absl::OkStatus();
    });
  }
  grpc::Status Drain(Context* /*context*/, const v1::DrainRequest* request,
                     v1::DrainResponse* response) override {
    if (request->reason().size() > kMaxReason) {
      return ToGrpc(absl::InvalidArgumentError(
          absl::StrCat("reason: at most ", kMaxReason, " bytes")));
    }
    const absl::Status begun = parts_.maintenance.Begin(
        request->reason().empty() ? kDefaultReason : request->reason(),
        request->stop());
    response->set_running_job_count(parts_.jobs.running_count());
    return ToGrpc(begun);
  }
  grpc::Status Resume(Context* /*context*/,
                      const v1::ResumeRequest* /*request*/,
                      v1::ResumeResponse* /*response*/) override {
    return ToGrpc(parts_.maintenance.End());
  }
  grpc::Status Backup(Context* /*context*/, const v1::BackupRequest* request,
                      v1::BackupResponse* response) override {
    const absl::StatusOr<BackupSummary> summary =
        WriteBackup(*parts_.records.database,
                    {.path = request->path(),
                     .code_version = fixed_.version(),
                     .time = Clock::Real().Now(),
                     .hold = [this](absl::FunctionRef<absl::Status()> copy) {
                       return parts_.records.artifacts->WithoutRemovals(copy);
                     }});
    if (!summary.ok()) return ToGrpc(summary.status());
    response->set_path(request->path());
    response->set_artifact_count(summary->artifact_count);
    response->set_size_bytes(summary->database_bytes + summary->artifact_bytes);
    return grpc::Status::OK;
  }
  grpc::Status CollectGarbage(Context* /*context*/,
                              const v1::CollectGarbageRequest* request,
                              v1::CollectGarbageResponse* response) override {
    const absl::StatusOr<GarbageReport> report =
        parts_.housekeeper.CollectGarbage(request->dry_run());
    if (!report.ok()) return ToGrpc(report.status());
    response->set_removed_count(report->removed.count);
    response->set_removed_bytes(report->removed.bytes);
    response->set_kept_count(report->kept.count);
    response->set_kept_bytes(report->kept.bytes);
    return grpc::Status::OK;
  }
  grpc::Status ListAuditEvents(Context* /*context*/,
                               const v1::ListAuditEventsRequest* request,
                               v1::ListAuditEventsResponse* response) override {
    return ToGrpc(ListAudit(*request, *response));
  }

 private:
  // Moves a result into the response's field, or gives its error.
  template <typename T>
  static grpc::Status Answer(absl::StatusOr<T> result, T* field) {
    if (!result.ok()) return ToGrpc(result.status());
    *field = *std::move(result);
    return grpc::Status::OK;
  }

  grpc::Status ByCaller(
      const Context& context,
      absl::FunctionRef<absl::Status(const Principal& caller)> call) {
    const absl::StatusOr<Principal> caller =
        CallerOf(context, parts_.records.tokens);
    return ToGrpc(caller.ok() ? call(*caller) : caller.status());
  }

  absl::Status ListAudit(const v1::ListAuditEventsRequest& request,
                         v1::ListAuditEventsResponse& response) {
    ASSIGN_OR_RETURN(const int size, PageSizeOf(request.page_size()));
    int64_t before = 0;
    if (!request.page_token().empty() &&
        (!absl::SimpleAtoi(request.page_token(), &before) || before <= 0)) {
      return absl::InvalidArgumentError(
          "page_token: give the next_page_token of the page before, unchanged");
    }
    ASSIGN_OR_RETURN(
        std::vector<v1::AuditEvent> events,
        parts_.records.audit.List(request.user(), before, size + 1));
    if (std::ssize(events) > size) {
      events.pop_back();
      response.set_next_page_token(absl::StrCat(events.back().number()));
    }
    for (v1::AuditEvent& event : events) {
      *response.add_events() = std::move(event);
    }
    return absl::OkStatus();
  }

  const v1::ServerInfoResponse fixed_;
  const AdminSources sources_;
  const AdminParts parts_;
  UserAdmin users_;
  const absl::Duration start_ = Clock::Real().Monotonic();
};

}  // namespace

std::unique_ptr<grpc::Service> MakeAdminService(v1::ServerInfoResponse fixed,
                                                AdminSources sources,
                                                const AdminParts& parts) {
  return std::make_unique<AdminService>(std::move(fixed), std::move(sources),
                                        parts);
}

}  // namespace dissonance
