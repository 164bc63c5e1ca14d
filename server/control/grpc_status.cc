#include "server/control/grpc_status.h"

#include <string>

#include "absl/strings/match.h"
#include "google/protobuf/any.pb.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/unknown_field_set.h"
#include "src/base/worker_details.h"

namespace dissonance {
namespace {

constexpr int kRetrySeconds = 1;

// A serialised google.rpc.Status with a RetryInfo. Written by field number:
// the generated code of google.rpc is not among the distribution's packages.
std::string RetryDetails(const absl::Status& status) {
  google::protobuf::Duration delay;
  delay.set_seconds(kRetrySeconds);
  google::protobuf::UnknownFieldSet retry_info;
  retry_info.AddLengthDelimited(1, delay.SerializeAsString());
  google::protobuf::Any any;
  any.set_type_url("type.googleapis.com/google.rpc.RetryInfo");
  retry_info.SerializeToString(any.mutable_value());
  google::protobuf::UnknownFieldSet out;
  out.AddVarint(1, static_cast<uint64_t>(status.code()));
  out.AddLengthDelimited(2, std::string(status.message()));
  out.AddLengthDelimited(3, any.SerializeAsString());
  std::string bytes;
  out.SerializeToString(&bytes);
  return bytes;
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.code());
  const std::string message(status.message());
  if (!absl::IsUnavailable(status)) return {code, message};
  return {code, message, RetryDetails(status)};
}

absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
}

absl::Status WorkerUnavailable() {
  return absl::UnavailableError(
      "the compute worker is starting, or ended before its answer was "
      "complete, and will be back; make the call again");
}

bool IsLostWorker(const grpc::Status& status) {
  if (status.error_details() == kWorkerDetails) return false;
  return status.error_code() == grpc::StatusCode::UNAVAILABLE ||
         (status.error_code() == grpc::StatusCode::UNKNOWN &&
          absl::StrContains(status.error_message(), "Stream removed"));
}

grpc::Status FromWorker(const grpc::Status& status) {
  if (status.error_details() == kWorkerDetails) return ToGrpc(FromGrpc(status));
  return IsLostWorker(status) ? ToGrpc(WorkerUnavailable()) : status;
}

}  // namespace dissonance
