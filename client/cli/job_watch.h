// Follows a job to its end: shows its progress, reconnects when the stream
// drops, and lets go of it on Ctrl-C. Not thread safe. Borrows everything it
// is given.
//
//   JobWatcher watcher(*connection, *interrupts, display);
//   ASSIGN_OR_RETURN(v1::Job job, watcher.Watch("jobs/01J...", 0));
//   RETURN_IF_ERROR(StatusOfEnded(job));
#ifndef DISSONANCE_CLIENT_CLI_JOB_WATCH_H_
#define DISSONANCE_CLIENT_CLI_JOB_WATCH_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/connection.h"
#include "client/cli/interrupts.h"
#include "client/cli/progress.h"
#include "client/cli/training_curves.h"
#include "dissonance/v1/jobs.pb.h"

namespace dissonance::cli {

class JobWatcher {
 public:
  // `on_event`, where given, sees each event once, in order.
  JobWatcher(Connection& connection, Interrupts& interrupts,
             ProgressDisplay& display,
             std::function<void(const v1::JobEvent&)> on_event = nullptr);

  // The job once it has ended, however it ended. CANCELLED after Ctrl-C: the
  // job goes on, or was cancelled too by a second Ctrl-C within 3 s.
  // UNAVAILABLE if the server stayed away for a minute.
  absl::StatusOr<v1::Job> Watch(const std::string& name,
                                int64_t after_event_number);

  // What its metric points said so far.
  const TrainingCurves& curves() const { return curves_; }

 private:
  // How one stream ended.
  struct StreamEnd {
    absl::Status status;
    bool interrupted = false;
    // Whether anything was received.
    bool progressed = false;
    // Whether the job's last message came.
    bool complete = false;
  };

  StreamEnd Follow(const std::string& name);
  void Show(const v1::JobEvent& event);
  // What a first Ctrl-C leads to.
  absl::Status Detach(const std::string& name);

  Connection& connection_;
  Interrupts& interrupts_;
  ProgressDisplay& display_;
  const std::function<void(const v1::JobEvent&)> on_event_;
  int64_t cursor_ = 0;
  v1::JobState state_ = v1::JOB_STATE_UNSPECIFIED;  // the last one told
  TrainingCurves curves_;
  v1::Job job_;
};

// Whether the job is over.
bool HasEnded(v1::JobState state);

// OK for SUCCEEDED; CANCELLED for CANCELLED; otherwise an error with the job's
// reason.
absl::Status StatusOfEnded(const v1::Job& job);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_JOB_WATCH_H_
