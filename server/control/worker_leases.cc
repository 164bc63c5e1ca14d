#include "server/control/worker_leases.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/random_bytes.h"

namespace dissonance {
namespace {

constexpr size_t kSecretBytes = 32;

std::string NewSecret() {
  return absl::BytesToHexString(RandomBytes(kSecretBytes));
}

}  // namespace

absl::StatusOr<Lease> WorkerLeases::Issue() {
  const absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(fencing_, numbers_.Next());
  token_ = NewSecret();
  last_run_ = -1;
  lease_.clear();
  report_ = {};
  return Lease{token_, fencing_};
}

void WorkerLeases::Suspend() {
  const absl::MutexLock lock(&mutex_);
  lease_.clear();
  report_ = {};
}

void WorkerLeases::Revoke() {
  const absl::MutexLock lock(&mutex_);
  token_.clear();
  lease_.clear();
  report_ = {};
}

absl::StatusOr<Lease> WorkerLeases::Register(absl::string_view token,
                                             const WorkerIdentity& identity) {
  const absl::MutexLock lock(&mutex_);
  if (token_.empty() || token != token_ ||
      identity.restart_count <= last_run_) {
    return absl::PermissionDeniedError(
        "the launch token is unknown or was used before; only the control "
        "plane starts workers");
  }
  // The number that came with the token is the first run's.
  if (last_run_ >= 0) {
    ASSIGN_OR_RETURN(fencing_, numbers_.Next());
  }
  last_run_ = identity.restart_count;
  lease_ = NewSecret();
  identity_ = identity;
  report_ = {};
  last_beat_ = last_progress_ = clock_.Monotonic();
  return Lease{lease_, fencing_};
}

bool WorkerLeases::Holds(absl::string_view lease) const {
  const absl::MutexLock lock(&mutex_);
  return !lease_.empty() && lease == lease_;
}

absl::Status WorkerLeases::Beat(absl::string_view lease, int64_t fencing_number,
                                const WorkerReport& report) {
  const absl::MutexLock lock(&mutex_);
  if (lease_.empty() || lease != lease_ || fencing_number != fencing_) {
    return absl::FailedPreconditionError(
        absl::StrCat("the lease with fencing number ", fencing_number,
                     " is no longer held; the newest is ", fencing_));
  }
  last_beat_ = clock_.Monotonic();
  if (!report.busy || report.step_count != report_.step_count) {
    last_progress_ = last_beat_;
  }
  report_ = report;
  return absl::OkStatus();
}

std::optional<LeaseHolder> WorkerLeases::holder() const {
  const absl::MutexLock lock(&mutex_);
  if (lease_.empty()) return std::nullopt;
  return LeaseHolder{identity_, fencing_};
}

WorkerReport WorkerLeases::last_report() const {
  const absl::MutexLock lock(&mutex_);
  return report_;
}

int64_t WorkerLeases::fencing_number() const {
  const absl::MutexLock lock(&mutex_);
  return fencing_;
}

bool WorkerLeases::is_silent() const {
  const absl::MutexLock lock(&mutex_);
  return !lease_.empty() && clock_.Monotonic() - last_beat_ >
                                kBeatsPerLease * options_.heartbeat_interval;
}

std::string WorkerLeases::Ailment() const {
  const absl::MutexLock lock(&mutex_);
  if (lease_.empty()) return "";
  const absl::Duration now = clock_.Monotonic();
  if (now - last_beat_ > kBeatsPerLease * options_.heartbeat_interval) {
    return absl::StrCat("no heartbeat for ",
                        absl::FormatDuration(now - last_beat_));
  }
  if (report_.busy && now - last_progress_ > options_.hang_limit) {
    return absl::StrCat("busy, but no step finished for ",
                        absl::FormatDuration(now - last_progress_));
  }
  return "";
}

}  // namespace dissonance
