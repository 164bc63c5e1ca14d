// What a JobManager is made of, and what its calls take. Values; thread safe.
#ifndef DISSONANCE_LAB_JOBS_JOB_MANAGER_OPTIONS_H_
#define DISSONANCE_LAB_JOBS_JOB_MANAGER_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "dissonance/v1/admin.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/base/clock.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/jobs/job_kind.h"
#include "src/lab/jobs/usage_ledger.h"
#include "src/lab/storage/job_queue.h"
#include "src/lab/storage/job_store.h"
#include "src/lab/storage/space_reserve.h"

namespace dissonance {

// A page of jobs, newest first.
struct JobPage {
  std::vector<v1::Job> jobs;
  std::string next_page_token;  // empty on the last page
};

struct JobManagerOptions {
  JobStore* store = nullptr;
  JobQueue* queue = nullptr;
  ArtifactStore* artifacts = nullptr;
  SpaceReserve* reserve = nullptr;  // if set, given up to record an end
  UsageLedger* ledger = nullptr;    // if set, decides whose turn it is
  // What a user may take; if unset, or 0 there, as much as he likes. Must be
  // quick and thread safe.
  std::function<v1::Quota(absl::string_view user)> quota = {};
  // Whether a job of the user's may start now: OK, or why not. Unset: it may.
  std::function<absl::Status(absl::string_view user, const v1::JobSpec& spec)>
      may_run = {};
  // Interactive jobs of a user that may be queued at a time: they go before
  // everybody else's.
  int64_t interactive_limit = 16;
  const Clock* clock = &Clock::Real();
  std::map<v1::JobSpec::KindCase, JobKind*> kinds = {};
  // Jobs that run at a time, each on a thread of its own: those that compute,
  // that ask chat endpoints, that wait for other jobs.
  int max_concurrent_jobs = 1;
  int max_endpoint_jobs = 1;
  int max_pipelines = 1;
  // What they may keep on the device together; 0: not bounded.
  int64_t device_bytes = 0;
  // A job that has waited so long goes by the next higher priority.
  absl::Duration aging = absl::InfiniteDuration();
  // Why no job is started from the beginning; empty: they are.
  std::string maintenance = {};
  std::string code_version = {};  // stored with each run
  // The resolved configuration, stored with each new job.
  std::string config_toml = {};
  // A job fails after this many runs in a row that ended UNAVAILABLE without
  // an item recorded; between them it waits, twice as long each time.
  int max_lost_count = 5;
  absl::Duration initial_backoff = absl::Seconds(1);
  absl::Duration max_backoff = absl::Seconds(60);
};

struct CreateJobOptions {
  std::string owner = {};
  std::string request_id = {};  // 1-128 printable ASCII; empty: a new job
  v1::JobPriority priority = v1::JOB_PRIORITY_UNSPECIFIED;  // normal
  std::vector<std::string> depends_on = {};  // jobs of the owner's
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_MANAGER_OPTIONS_H_
