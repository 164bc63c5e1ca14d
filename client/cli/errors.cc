#include "client/cli/errors.h"

#include <cstdint>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "client/cli/detached.h"
#include "client/cli/output.h"
#include "google/protobuf/unknown_field_set.h"

namespace dissonance::cli {
namespace {

using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

constexpr char kUsageUrl[] = "dissonance/usage";
constexpr char kGateUrl[] = "dissonance/gate";
constexpr char kLinesUrl[] = "dissonance/error_lines";

// Appends lines to those that RenderError prints below the message.
void AddLine(absl::Status& status, absl::string_view line) {
  absl::Cord lines = status.GetPayload(kLinesUrl).value_or(absl::Cord());
  lines.Append(absl::StrCat(Printable(line), "\n"));
  status.SetPayload(kLinesUrl, lines);
}

// The google.rpc messages are read by field number: their generated code is
// not among the distribution's packages.
std::vector<std::string> BytesOf(const std::string& message, int number) {
  std::vector<std::string> out;
  UnknownFieldSet fields;
  if (!fields.ParseFromString(message)) return out;
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    if (field.number() == number &&
        field.type() == UnknownField::TYPE_LENGTH_DELIMITED) {
      out.push_back(field.length_delimited());
    }
  }
  return out;
}

std::string FirstBytesOf(const std::string& message, int number) {
  const std::vector<std::string> all = BytesOf(message, number);
  return all.empty() ? "" : all.front();
}

uint64_t NumberOf(const std::string& message, int number) {
  UnknownFieldSet fields;
  if (!fields.ParseFromString(message)) return 0;
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    if (field.number() == number && field.type() == UnknownField::TYPE_VARINT) {
      return field.varint();
    }
  }
  return 0;
}

// Adds what one google.protobuf.Any of google.rpc.Status.details says.
void AddDetail(absl::Status& status, const std::string& any) {
  const std::string type = FirstBytesOf(any, 1);
  const std::string value = FirstBytesOf(any, 2);
  if (absl::EndsWith(type, "/google.rpc.BadRequest")) {
    for (const std::string& violation : BytesOf(value, 1)) {
      AddLine(status, absl::StrCat(FirstBytesOf(violation, 1), ": ",
                                   FirstBytesOf(violation, 2)));
    }
  } else if (absl::EndsWith(type, "/google.rpc.ErrorInfo")) {
    AddLine(status, absl::StrCat("reason: ", FirstBytesOf(value, 1)));
  } else if (absl::EndsWith(type, "/google.rpc.RetryInfo")) {
    const std::string delay = FirstBytesOf(value, 1);
    AddLine(status,
            absl::StrCat("try again in ",
                         HumanDuration(absl::Seconds(NumberOf(delay, 1)) +
                                       absl::Nanoseconds(NumberOf(delay, 2)))));
  } else if (absl::EndsWith(type, "/google.rpc.Help")) {
    for (const std::string& link : BytesOf(value, 1)) {
      AddLine(status,
              absl::StrCat(FirstBytesOf(link, 1), ": ", FirstBytesOf(link, 2)));
    }
  }
}

}  // namespace

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.GetPayload(kUsageUrl).has_value()) return kExitUsage;
  if (status.GetPayload(kGateUrl).has_value()) return kExitGateAborted;
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitDone;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kUnauthenticated:
      return kExitNotAuthenticated;
    case absl::StatusCode::kCancelled:
      return kExitCancelled;
    default:
      return kExitFailed;
  }
}

absl::Status UsageError(absl::string_view message) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kUsageUrl, absl::Cord());
  return status;
}

absl::Status GateError(absl::string_view message) {
  absl::Status status = absl::FailedPreconditionError(message);
  status.SetPayload(kGateUrl, absl::Cord());
  return status;
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status out(static_cast<absl::StatusCode>(status.error_code()),
                   status.error_message());
  for (const std::string& any : BytesOf(status.error_details(), 3)) {
    AddDetail(out, any);
  }
  return out;
}

absl::Status WithHint(const absl::Status& status, absl::string_view hint) {
  absl::Status out = status;
  if (!out.ok()) AddLine(out, hint);
  return out;
}

std::string RenderError(const absl::Status& status) {
  std::string out = absl::StrCat(IsDetached(status) ? "" : "error: ",
                                 status.message().empty()
                                     ? absl::StatusCodeToString(status.code())
                                     : Printable(status.message()),
                                 "\n");
  if (const auto lines = status.GetPayload(kLinesUrl)) {
    for (absl::string_view line :
         absl::StrSplit(std::string(*lines), '\n', absl::SkipEmpty())) {
      absl::StrAppend(&out, "  ", line, "\n");
    }
  }
  return out;
}

}  // namespace dissonance::cli
