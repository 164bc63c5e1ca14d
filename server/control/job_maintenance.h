// Whether jobs are started: what Drain and Resume switch, kept over a restart.
// Thread safe. Borrows settings and jobs.
#ifndef DISSONANCE_SERVER_CONTROL_JOB_MAINTENANCE_H_
#define DISSONANCE_SERVER_CONTROL_JOB_MAINTENANCE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "src/lab/jobs/job_manager.h"
#include "src/lab/storage/settings_store.h"

namespace dissonance {

inline constexpr absl::string_view kMaintenanceSetting = "maintenance";

class JobMaintenance {
 public:
  JobMaintenance(SettingsStore& settings, JobManager& jobs)
      : settings_(settings), jobs_(jobs) {}

  // Stored first: what was asked for holds also if the server ends now.
  absl::Status Begin(const std::string& reason, bool stop) {
    const absl::MutexLock lock(&mutex_);
    const absl::Status stored = settings_.Set(kMaintenanceSetting, reason);
    if (stored.ok()) jobs_.SetMaintenance(reason, stop);
    return stored;
  }
  absl::Status End() { return Begin("", /*stop=*/false); }
  // Why no jobs are started; empty while they are.
  absl::StatusOr<std::string> reason() {
    return settings_.Get(kMaintenanceSetting);
  }

 private:
  SettingsStore& settings_;
  JobManager& jobs_;
  // Held until what was stored is what the jobs were told.
  absl::Mutex mutex_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_JOB_MAINTENANCE_H_
