// Jobs that depend on others: what becomes of them when those end. Part of
// JobManager. Thread safe. Borrows store, hub and clock.
//
//   WaitingJobs waiting(store, hub, clock);
//   RETURN_IF_ERROR(waiting.SettleAfter("jobs/01J..."));  // it has ended
#ifndef DISSONANCE_LAB_JOBS_WAITING_JOBS_H_
#define DISSONANCE_LAB_JOBS_WAITING_JOBS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/base/clock.h"
#include "src/lab/jobs/event_hub.h"
#include "src/lab/storage/job_store.h"

namespace dissonance {

class WaitingJobs {
 public:
  WaitingJobs(JobStore& store, EventHub& hub, const Clock& clock)
      : store_(store), hub_(hub), clock_(clock) {}

  // Moves a WAITING job on if it can be said what becomes of it: QUEUED when
  // all that it depends on SUCCEEDED, FAILED, naming the one, when one of them
  // ended otherwise or was deleted. Whether it FAILED by this. Safe to ask at
  // any time and twice: it looks at what is stored.
  absl::StatusOr<bool> Settle(const std::string& name);

  // The jobs that wait for `name`, and whoever waits for those in turn.
  absl::Status SettleAfter(absl::string_view name);

  // All that wait: after a start, for what a crash left undone.
  absl::Status SettleAll();

  // What a job waits for, e.g. "jobs/01J..., which is RUNNING"; empty if for
  // nothing.
  absl::StatusOr<std::string> WaitsFor(const v1::Job& job);

 private:
  JobStore& store_;
  EventHub& hub_;
  const Clock& clock_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_WAITING_JOBS_H_
