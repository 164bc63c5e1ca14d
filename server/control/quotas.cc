#include "server/control/quotas.h"

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"

namespace dissonance {

v1::Quota Quotas::Effective(const v1::Quota& set) const {
  v1::Quota quota = set;
  if (quota.queued_job_count() == 0) {
    quota.set_queued_job_count(defaults_.queued_jobs);
  }
  if (quota.running_job_count() == 0) {
    quota.set_running_job_count(defaults_.running_jobs);
  }
  if (quota.artifact_bytes() == 0) {
    quota.set_artifact_bytes(defaults_.artifact_bytes);
  }
  if (quota.device_seconds_per_week() == 0) {
    quota.set_device_seconds_per_week(defaults_.device_seconds_per_week);
  }
  return quota;
}

v1::Quota Quotas::Of(absl::string_view user) const {
  const absl::StatusOr<StoredUser> stored = users_.Get(user);
  return Effective(stored.ok() ? stored->quota : v1::Quota());
}

absl::Status Quotas::CheckArtifacts(absl::string_view user) const {
  ASSIGN_OR_RETURN(const StoredUser stored, users_.Get(user));
  const int64_t limit = Effective(stored.quota).artifact_bytes();
  if (limit == 0 || stored.artifact_bytes < limit) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      NameOfUser(user), " has ", stored.artifact_bytes,
      " bytes of artifacts and may have ", limit,
      ": delete jobs and artifacts, or ask an administrator for a larger "
      "quota"));
}

absl::Status Quotas::CheckDevice(absl::string_view user,
                                 const UsageLedger::Use& use) const {
  const double limit = Of(user).device_seconds_per_week();
  if (limit <= 0 || use.week_seconds < limit) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(NameOfUser(user), " has used ", use.week_seconds,
                   " device seconds in seven days and may use ", limit,
                   ": wait, or ask an administrator for a larger quota"));
}

absl::Status CheckQuota(const v1::Quota& quota) {
  if (quota.queued_job_count() >= 0 && quota.running_job_count() >= 0 &&
      quota.artifact_bytes() >= 0 && quota.device_seconds_per_week() >= 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "quota: no number may be negative; 0 is what the configuration says");
}

}  // namespace dissonance
