#include "server/worker/control_link.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "server/link/worker_credentials.h"
#include "src/base/clock.h"

namespace dissonance {
namespace {

// The control plane ends a lease after as many missed beats.
constexpr int kBeatsPerLease = 4;
constexpr absl::Duration kRegisterTimeout = absl::Seconds(30);

void SetDeadline(grpc::ClientContext& context, absl::Duration span) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + span));
}

absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
}

}  // namespace

absl::StatusOr<std::unique_ptr<ControlLink>> ControlLink::Register(
    const std::string& target,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    const internal::v1::RegisterWorkerRequest& request) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  WorkerCredentials::SetNameIn(arguments);
  std::unique_ptr<Stub> stub = internal::v1::WorkerRegistry::NewStub(
      grpc::CreateCustomChannel(target, credentials, arguments));
  grpc::ClientContext context;
  SetDeadline(context, kRegisterTimeout);
  internal::v1::RegisterWorkerResponse lease;
  const grpc::Status status = stub->RegisterWorker(&context, request, &lease);
  if (!status.ok()) return FromGrpc(status);
  return std::unique_ptr<ControlLink>(new ControlLink(std::move(stub), lease));
}

ControlLink::ControlLink(std::unique_ptr<Stub> stub,
                         const internal::v1::RegisterWorkerResponse& lease)
    : stub_(std::move(stub)),
      lease_(lease.lease()),
      fencing_number_(lease.fencing_number()),
      interval_(absl::Nanoseconds(
          google::protobuf::util::TimeUtil::DurationToNanoseconds(
              lease.heartbeat_interval()))) {}

ControlLink::~ControlLink() {
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.SignalAll();
  }
  if (thread_.joinable()) thread_.join();
}

void ControlLink::StartHeartbeats(
    std::function<WorkerVitals()> vitals,
    std::function<void(const absl::Status&)> on_lost) {
  vitals_ = std::move(vitals);
  on_lost_ = std::move(on_lost);
  thread_ = std::thread([this] { Loop(); });
}

void ControlLink::Loop() {
  const Clock& clock = Clock::Real();
  absl::Duration last_beat = clock.Monotonic();
  while (true) {
    {
      const absl::MutexLock lock(&mutex_);
      if (!stopping_) changed_.WaitWithTimeout(mutex_, interval_);
      if (stopping_) return;
    }
    const absl::Status status = Beat();
    const absl::Duration now = clock.Monotonic();
    if (status.ok()) {
      last_beat = now;
    } else if (absl::IsFailedPrecondition(status) ||
               now - last_beat > kBeatsPerLease * interval_) {
      on_lost_(status);
      return;
    }
  }
}

absl::Status ControlLink::Beat() {
  const WorkerVitals vitals = vitals_();
  internal::v1::HeartbeatRequest request;
  request.set_lease(lease_);
  request.set_fencing_number(fencing_number_);
  request.set_engine_step_count(vitals.step_count);
  request.set_engine_busy(vitals.busy);
  request.set_resident_bytes(vitals.resident_bytes);
  request.mutable_metrics()->Assign(vitals.metrics.begin(),
                                    vitals.metrics.end());
  request.mutable_resident_models()->Assign(vitals.models.begin(),
                                            vitals.models.end());
  grpc::ClientContext context;
  SetDeadline(context, interval_);
  internal::v1::HeartbeatResponse response;
  return FromGrpc(stub_->Heartbeat(&context, request, &response));
}

}  // namespace dissonance
