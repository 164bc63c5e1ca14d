#include "tests/endurance/storm_clients.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

absl::Status Cancel(Client& client, AcknowledgedJob& job) {
  v1::CancelJobRequest request;
  request.set_name(job.name);
  const auto response = client.Insist(&v1::Jobs::Stub::CancelJob, request);
  job.cancelled = response.ok();
  // It ended before, or by an earlier call whose answer was lost.
  if (absl::IsFailedPrecondition(response.status())) return absl::OkStatus();
  return response.status();
}

// Queues a CANCELLED job again; one that SUCCEEDED instead stays as it is.
absl::Status Retry(Client& client, AcknowledgedJob& job) {
  v1::RetryJobRequest request;
  request.set_name(job.name);
  const auto response = client.Insist(&v1::Jobs::Stub::RetryJob, request);
  job.cancelled = false;
  // It SUCCEEDED before, or an earlier call whose answer was lost queued it.
  if (absl::IsFailedPrecondition(response.status())) return absl::OkStatus();
  return response.status();
}

// Whether the last state that watchers were told of is PAUSED.
bool IsPaused(const SeenEvents& seen) {
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  for (const auto& [number, bytes] : seen) {
    v1::JobEvent event;
    event.ParseFromString(bytes);
    if (event.event_case() == v1::JobEvent::kState) state = event.state();
  }
  return state == v1::JOB_STATE_PAUSED;
}

// Pauses a job and, when it has come to that, resumes it; one that ended
// instead stays as it is.
absl::Status PauseAndResume(Client& client, AcknowledgedJob& job) {
  v1::PauseJobRequest pause;
  pause.set_name(job.name);
  const auto paused = client.Insist(&v1::Jobs::Stub::PauseJob, pause);
  if (absl::IsFailedPrecondition(paused.status())) return absl::OkStatus();
  RETURN_IF_ERROR(paused.status());
  while (!IsPaused(job.seen)) {
    ASSIGN_OR_RETURN(
        const v1::Job ended,
        WatchJob(client, job.name, job.seen, /*most=*/job.seen.size() + 1));
    if (!ended.name().empty()) return absl::OkStatus();
  }
  v1::ResumeJobRequest resume;
  resume.set_name(job.name);
  const auto resumed = client.Insist(&v1::Jobs::Stub::ResumeJob, resume);
  // An earlier call whose answer was lost queued it.
  if (absl::IsFailedPrecondition(resumed.status())) return absl::OkStatus();
  return resumed.status();
}

}  // namespace

void StormClients::Start() {
  for (int i = 0; i < options_.client_count; ++i) {
    threads_.emplace_back([this] { RunClient(); });
  }
  for (int i = 0; i < options_.caller_count; ++i) {
    threads_.emplace_back([this, i] { RunCaller(i); });
  }
}

void StormClients::Finish() {
  finishing_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

std::vector<AcknowledgedJob> StormClients::jobs() const {
  const absl::MutexLock lock(&mutex_);
  return jobs_;
}

std::vector<std::string> StormClients::faults() const {
  const absl::MutexLock lock(&mutex_);
  return faults_;
}

void StormClients::AddFault(absl::string_view fault) {
  const absl::MutexLock lock(&mutex_);
  faults_.emplace_back(fault);
}

void StormClients::RunClient() {
  Client client(options_.data_dir, options_.token);
  const size_t least = mix_.size() * static_cast<size_t>(options_.round_count);
  while (true) {
    const size_t serial = next_++;
    if (finishing_ && serial >= least) break;
    // The client of the job before makes those that follow.
    if (!mix_[serial % mix_.size()].follows) RunUnit(client, serial);
  }
  retry_count_ += client.retry_count();
}

void StormClients::RunCaller(int index) {
  Client client(options_.data_dir, options_.token);
  std::mt19937_64 random(static_cast<uint64_t>(index));
  const SoakCall call{client, random, ledger_, index};
  const std::vector<CallKind> kinds = RepeatableCallKinds();
  while (!finishing_) {
    const CallKind& kind =
        kinds[static_cast<size_t>(Draw(call, static_cast<int>(kinds.size())))];
    absl::Status status = kind.run(call);
    while (absl::IsUnavailable(status) && !finishing_) {
      client.PauseBeforeRetry();
      status = kind.run(call);
    }
    if (!absl::IsUnavailable(status)) ledger_.Count(kind.name, status);
  }
  retry_count_ += client.retry_count();
}

void StormClients::RunUnit(Client& client, size_t serial) {
  std::vector<AcknowledgedJob> unit;
  const size_t first = serial % mix_.size();
  for (size_t i = first; i == first || (i < mix_.size() && mix_[i].follows);
       ++i) {
    AcknowledgedJob& job = unit.emplace_back();
    job.planned = i;
    job.request_id = absl::StrCat("storm-", serial + i - first);
    if (mix_[i].follows) job.follows = unit[i - first - 1].name;
    const absl::Status status = Create(client, job);
    if (status.ok()) continue;
    AddFault(
        absl::StrCat("CreateJob ", job.request_id, ": ", status.ToString()));
    unit.pop_back();
    break;
  }
  for (AcknowledgedJob& job : unit) {
    const absl::Status status = CarryOut(client, job);
    if (!status.ok()) {
      AddFault(absl::StrCat(job.name, ": ", status.ToString()));
    }
    const absl::MutexLock lock(&mutex_);
    jobs_.push_back(std::move(job));
  }
}

absl::Status StormClients::Create(Client& client, AcknowledgedJob& job) const {
  const PlannedJob& plan = mix_[job.planned];
  v1::CreateJobRequest request;
  *request.mutable_spec() = plan.spec;
  request.set_request_id(job.request_id);
  request.set_priority(plan.priority);
  if (!job.follows.empty()) request.add_depends_on(job.follows);
  ASSIGN_OR_RETURN(const v1::CreateJobResponse response,
                   client.Insist(&v1::Jobs::Stub::CreateJob, request));
  job.name = response.job().name();
  return absl::OkStatus();
}

absl::Status StormClients::CarryOut(Client& client,
                                    AcknowledgedJob& job) const {
  const Fate fate = mix_[job.planned].fate;
  const bool is_paused = job.planned % 4 == 1;
  if (fate == Fate::kFinish && !is_paused) return Watch(client, job);
  // Some are stopped in the queue, some when they have run for a while.
  RETURN_IF_ERROR(
      WatchJob(client, job.name, job.seen, /*most=*/job.planned / 10 + 1)
          .status());
  if (is_paused) RETURN_IF_ERROR(PauseAndResume(client, job));
  if (fate == Fate::kFinish) return Watch(client, job);
  RETURN_IF_ERROR(Cancel(client, job));
  RETURN_IF_ERROR(Watch(client, job));
  if (fate == Fate::kCancel) return absl::OkStatus();
  RETURN_IF_ERROR(Retry(client, job));
  return Watch(client, job);
}

absl::Status StormClients::Watch(Client& client, AcknowledgedJob& job) const {
  ASSIGN_OR_RETURN(const v1::Job ended, WatchJob(client, job.name, job.seen));
  job.last_state = v1::JobState_Name(ended.state());
  return absl::OkStatus();
}

}  // namespace dissonance
