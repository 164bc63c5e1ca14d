// dissonance admin user create | list | show, admin quota.
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/errors.h"
#include "client/cli/names.h"
#include "client/cli/pages.h"
#include "client/cli/parsed_option.h"
#include "client/cli/proto_json.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

// What was typed of a quota.
struct QuotaArgs {
  std::optional<int64_t> queued;
  std::optional<int64_t> running;
  std::optional<int64_t> artifact_bytes;
  std::optional<double> device_seconds;

  bool empty() const {
    return !queued.has_value() && !running.has_value() &&
           !artifact_bytes.has_value() && !device_seconds.has_value();
  }
};

// From "1000" or "50GiB".
absl::StatusOr<int64_t> ParseByteCount(const std::string& text) {
  absl::string_view number = text;
  int64_t unit = 1;
  int64_t power = 1;
  for (const char* suffix : {"KiB", "MiB", "GiB", "TiB"}) {
    power *= 1024;
    if (unit == 1 && absl::ConsumeSuffix(&number, suffix)) unit = power;
  }
  int64_t count = 0;
  if (!absl::SimpleAtoi(number, &count) || count < 0 ||
      count > std::numeric_limits<int64_t>::max() / unit) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text,
                     "' is no number of bytes; write one as in 1000, 512MiB "
                     "or 50GiB"));
  }
  return count * unit;
}

// "--queued" and so on, after `prefix`.
void AddQuotaOptions(CLI::App& app, const std::string& prefix,
                     QuotaArgs& args) {
  app.add_option(prefix + "queued", args.queued,
                 "Jobs that may wait; as in all of these 0: as the "
                 "configuration says")
      ->check(AtLeast(0));
  app.add_option(prefix + "running", args.running,
                 "Jobs that may run at a time")
      ->check(AtLeast(0));
  AddParsed(app, prefix + "artifact-bytes", "BYTES", args.artifact_bytes,
            ParseByteCount, "Bytes of artifacts, also as 50GiB");
  app.add_option(prefix + "device-seconds-per-week", args.device_seconds,
                 "Device seconds over seven days")
      ->check(AtLeast(0));
}

void Apply(const QuotaArgs& args, v1::Quota& quota) {
  if (args.queued.has_value()) quota.set_queued_job_count(*args.queued);
  if (args.running.has_value()) quota.set_running_job_count(*args.running);
  if (args.artifact_bytes.has_value()) {
    quota.set_artifact_bytes(*args.artifact_bytes);
  }
  if (args.device_seconds.has_value()) {
    quota.set_device_seconds_per_week(*args.device_seconds);
  }
}

std::string BytesUsed(int64_t bytes) {
  return bytes == 0 ? "0 B" : HumanBytes(bytes);
}

std::string Seconds(double seconds) {
  return HumanDuration(absl::Seconds(seconds));
}

// What is used, and the limit in force; `set` unless it is the configuration's.
std::string OfLimit(const std::string& used, bool limited,
                    const std::string& limit, bool set) {
  if (!limited) return absl::StrCat(used, ", no limit");
  return absl::StrCat(used, " of ", limit,
                      set ? "" : ", as the configuration says");
}

void EmitUser(const Session& session, const v1::User& user) {
  const v1::Usage& used = user.usage();
  const v1::Quota& limit = user.effective_quota();
  const v1::Quota& set = user.quota();
  Table table({{""}, {""}});
  table.AddRow({"name", user.name()});
  table.AddRow({"created", HumanTime(user.create_time())});
  table.AddRow({"queued jobs", OfLimit(HumanCount(used.queued_job_count()),
                                       limit.queued_job_count() > 0,
                                       HumanCount(limit.queued_job_count()),
                                       set.queued_job_count() > 0)});
  table.AddRow({"running jobs", OfLimit(HumanCount(used.running_job_count()),
                                        limit.running_job_count() > 0,
                                        HumanCount(limit.running_job_count()),
                                        set.running_job_count() > 0)});
  table.AddRow(
      {"artifacts",
       OfLimit(BytesUsed(used.artifact_bytes()), limit.artifact_bytes() > 0,
               HumanBytes(limit.artifact_bytes()), set.artifact_bytes() > 0)});
  table.AddRow({"device time, seven days",
                OfLimit(Seconds(used.device_seconds_week()),
                        limit.device_seconds_per_week() > 0,
                        Seconds(limit.device_seconds_per_week()),
                        set.device_seconds_per_week() > 0)});
  table.AddRow({"job tokens, seven days", HumanCount(used.job_tokens_week())});
  EmitOne(session.output, ToJson(user), table);
}

struct CreateArgs {
  std::string name;
  QuotaArgs quota;
};

absl::Status Create(const Session& session, const CreateArgs& args) {
  v1::CreateUserRequest request;
  request.set_name(UserName(args.name));
  if (!args.quota.empty()) Apply(args.quota, *request.mutable_quota());
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::CreateUserResponse response,
                   connection->Call(&v1::Admin::Stub::CreateUser, request));
  EmitUser(session, response.user());
  if (session.output == OutputFormat::kTable) {
    const std::string name = ShortName(response.user().name());
    absl::FPrintF(stderr,
                  "make a token for %s with: dissonance admin token create "
                  "--user %s --out FILE\n",
                  Printable(name), Printable(name));
  }
  return absl::OkStatus();
}

CommandRun DefineCreate(CLI::App& app) {
  auto args = std::make_shared<CreateArgs>();
  app.add_option("NAME", args->name,
                 "1-63 of a-z, 0-9, '-', '.', '_', beginning with a letter or "
                 "digit")
      ->required();
  AddQuotaOptions(app, "--quota-", args->quota);
  return [args](const Session& session) { return Create(session, *args); };
}

std::string UsedAndLimit(const std::string& used, bool limited,
                         const std::string& limit) {
  return limited ? absl::StrCat(used, " / ", limit) : used;
}

absl::Status List(const Session& session) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(
      const std::vector<v1::User> users,
      ListAll(*connection, &v1::Admin::Stub::ListUsers, v1::ListUsersRequest(),
              &v1::ListUsersResponse::users));
  Table table({{"USER"},
               {"QUEUED", Align::kRight},
               {"RUNNING", Align::kRight},
               {"ARTIFACTS", Align::kRight},
               {"DEVICE TIME, 7 DAYS", Align::kRight},
               {"CREATED"}});
  std::vector<nlohmann::json> records;
  for (const v1::User& user : users) {
    const v1::Usage& used = user.usage();
    const v1::Quota& limit = user.effective_quota();
    records.push_back(ToJson(user));
    table.AddRow({ShortName(user.name()),
                  UsedAndLimit(HumanCount(used.queued_job_count()),
                               limit.queued_job_count() > 0,
                               HumanCount(limit.queued_job_count())),
                  UsedAndLimit(HumanCount(used.running_job_count()),
                               limit.running_job_count() > 0,
                               HumanCount(limit.running_job_count())),
                  UsedAndLimit(BytesUsed(used.artifact_bytes()),
                               limit.artifact_bytes() > 0,
                               HumanBytes(limit.artifact_bytes())),
                  UsedAndLimit(Seconds(used.device_seconds_week()),
                               limit.device_seconds_per_week() > 0,
                               Seconds(limit.device_seconds_per_week())),
                  HumanTime(user.create_time())});
  }
  Emit(session.output, records, table);
  return absl::OkStatus();
}

CommandRun DefineList(CLI::App& /*app*/) { return List; }

absl::StatusOr<v1::User> Get(Connection& connection, const std::string& name) {
  v1::GetUserRequest request;
  if (!name.empty()) request.set_name(UserName(name));
  ASSIGN_OR_RETURN(v1::GetUserResponse response,
                   connection.Call(&v1::Admin::Stub::GetUser, request));
  return std::move(*response.mutable_user());
}

absl::Status Show(const Session& session, const std::string& name) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::User user, Get(*connection, name));
  EmitUser(session, user);
  return absl::OkStatus();
}

CommandRun DefineShow(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  app.add_option("NAME", *name, "User to show (default: yourself)");
  return [name](const Session& session) { return Show(session, *name); };
}

struct QuotaCommandArgs {
  std::string name;
  QuotaArgs quota;
};

absl::Status SetQuota(const Session& session, const QuotaCommandArgs& args) {
  if (args.quota.empty()) {
    return UsageError(absl::StrCat(
        "which quota? name --queued, --running, --artifact-bytes or "
        "--device-seconds-per-week; to see what is set: dissonance admin user "
        "show ",
        args.name));
  }
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  // SetQuota replaces the whole; what was not typed stays.
  ASSIGN_OR_RETURN(const v1::User user, Get(*connection, args.name));
  v1::SetQuotaRequest request;
  request.set_name(UserName(args.name));
  *request.mutable_quota() = user.quota();
  Apply(args.quota, *request.mutable_quota());
  ASSIGN_OR_RETURN(const v1::SetQuotaResponse response,
                   connection->CallAgain(&v1::Admin::Stub::SetQuota, request));
  EmitUser(session, response.user());
  return absl::OkStatus();
}

CommandRun DefineQuota(CLI::App& app) {
  auto args = std::make_shared<QuotaCommandArgs>();
  app.add_option("USER", args->name, "User whose quota is set")->required();
  AddQuotaOptions(app, "--", args->quota);
  return [args](const Session& session) { return SetQuota(session, *args); };
}

}  // namespace

std::vector<Command> UserCommands() {
  return {
      {"admin user", "create", "Add a user", DefineCreate},
      {"admin user", "list", "List users with what they take", DefineList},
      {"admin user", "show", "Show a user's quota and usage", DefineShow},
      {"admin", "quota", "Limit what a user may take", DefineQuota},
  };
}

}  // namespace dissonance::cli
