// Launch tokens and the lease of one worker: who may report, and whether it is
// alive. Only the newest lease is valid; its fencing number is greater than
// that of any lease before. A worker that its cluster runs again registers
// again with the token it has; the lease that it had is over then. Time is
// monotonic, so a jump of the clock ends no lease. Thread safe. Borrows numbers
// and clock.
//
//   ASSIGN_OR_RETURN(Lease launch, leases.Issue());   // the worker's token
//   ASSIGN_OR_RETURN(Lease lease, leases.Register(token, identity));
//   RETURN_IF_ERROR(leases.Beat(lease.id, lease.fencing_number, report));
//   if (!leases.Ailment().empty()) ...          // expired or hung: replace it
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_LEASES_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_LEASES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "dissonance/internal/v1/worker.pb.h"
#include "server/control/fencing_numbers.h"
#include "src/base/clock.h"

namespace dissonance {

// What a worker says of itself when it registers.
struct WorkerIdentity {
  std::string address = {};  // gRPC target
  int32_t pid = 0;
  std::string device = {};
  int32_t thread_count = 0;
  // How often its launch was run before, by whoever runs it.
  int32_t restart_count = 0;
};

struct WorkerReport {
  int64_t step_count = 0;
  bool busy = false;
  int64_t resident_bytes = 0;
  std::vector<internal::v1::Metric> metrics = {};
  // Names of those whose weights are on its device.
  std::vector<std::string> models = {};
};

struct Lease {
  std::string id;
  int64_t fencing_number = 0;
};

// Who holds the lease of a number.
struct LeaseHolder {
  WorkerIdentity identity;
  int64_t fencing_number = 0;
};

class WorkerLeases {
 public:
  struct Options {
    absl::Duration heartbeat_interval = absl::Seconds(2);
    // Busy without a finished step for longer: hung.
    absl::Duration hang_limit = absl::Minutes(10);
  };
  static constexpr int kBeatsPerLease = 4;

  WorkerLeases(const Options& options, FencingNumbers& numbers,
               const Clock& clock)
      : options_(options), numbers_(numbers), clock_(clock) {}

  // Ends the present lease and gives a token for the next worker, with the
  // fencing number that its lease will have. Fails if no number can be stored.
  absl::StatusOr<Lease> Issue() ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the present lease; its worker is refused from now on. Suspend() leaves
  // the token to a later run of what was launched, Revoke() to nobody.
  void Suspend() ABSL_LOCKS_EXCLUDED(mutex_);
  void Revoke() ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends the lease that an earlier run of the same launch has.
  // PERMISSION_DENIED unless `token` is the newest and was not used yet by this
  // run or a later one.
  absl::StatusOr<Lease> Register(absl::string_view token,
                                 const WorkerIdentity& identity)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether the lease is the present one.
  bool Holds(absl::string_view lease) const ABSL_LOCKS_EXCLUDED(mutex_);
  // FAILED_PRECONDITION if the lease is not, or no longer, held.
  absl::Status Beat(absl::string_view lease, int64_t fencing_number,
                    const WorkerReport& report) ABSL_LOCKS_EXCLUDED(mutex_);

  // The registered worker; nullopt while no lease is held.
  std::optional<LeaseHolder> holder() const ABSL_LOCKS_EXCLUDED(mutex_);
  WorkerReport last_report() const ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t fencing_number() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Why the registered worker has to be replaced; empty while it is well, and
  // before it registers.
  std::string Ailment() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether the ailment is that nothing is heard of it.
  bool is_silent() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Duration heartbeat_interval() const {
    return options_.heartbeat_interval;
  }

 private:
  const Options options_;
  FencingNumbers& numbers_;
  const Clock& clock_;
  mutable absl::Mutex mutex_;
  int64_t fencing_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string token_ ABSL_GUARDED_BY(mutex_);  // empty: none to be used
  // The run that has used the token; -1: none.
  int32_t last_run_ ABSL_GUARDED_BY(mutex_) = -1;
  std::string lease_ ABSL_GUARDED_BY(mutex_);  // empty: none held
  WorkerIdentity identity_ ABSL_GUARDED_BY(mutex_);
  WorkerReport report_ ABSL_GUARDED_BY(mutex_);
  absl::Duration last_beat_ ABSL_GUARDED_BY(mutex_);
  // When the step count last grew or the worker was last idle.
  absl::Duration last_progress_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_LEASES_H_
