// The Jobs service without its transport: queues, runs, records, watches and
// resumes jobs. Whatever a call acknowledged is durable. Thread safe. Borrows
// everything in Options, which must outlive it.
//
//   ASSIGN_OR_RETURN(auto jobs, JobManager::Create({
//       .store = &store, .queue = &queue, .artifacts = artifacts.get(),
//       .kinds = {{v1::JobSpec::kEvaluateMcq, &evaluate_mcq}}}));
//   RETURN_IF_ERROR(jobs->Start());          // resumes what a crash left
//   ASSIGN_OR_RETURN(v1::Job job, jobs->CreateJob(spec, {.owner = "owner"}));
//   jobs->Drain(absl::Seconds(20));          // on SIGTERM
//
// `owner` is the caller's user; other users' jobs are NOT_FOUND like unknown
// ones. An empty owner sees all. Only Get returns a spec with its data (bytes
// fields) and a place in the queue; List leaves out config_toml too.
//
// Watching. WaitForEvents blocks a thread per watcher. A gRPC reactor needs
// none: it calls Subscribe once, then ReadEvents after the last number that it
// has sent until that gives no events; the callback, which must not block, says
// when to read again. Subscribing before the first ReadEvents misses nothing.
#ifndef DISSONANCE_LAB_JOBS_JOB_MANAGER_H_
#define DISSONANCE_LAB_JOBS_JOB_MANAGER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/jobs/event_hub.h"
#include "src/lab/jobs/job_manager_options.h"
#include "src/lab/jobs/ulid.h"
#include "src/lab/storage/job_store.h"

namespace dissonance {

class JobRunner;
class WaitingJobs;

class JobManager {
 public:
  using Options = JobManagerOptions;
  using CreateOptions = CreateJobOptions;

  // INVALID_ARGUMENT if an option is missing or out of range.
  static absl::StatusOr<std::unique_ptr<JobManager>> Create(Options options);
  // Drain(0), then waits for the kinds to return.
  ~JobManager();

  // Validates by the kind, then queues durably. The owner's same request_id
  // again returns the job made first; ALREADY_EXISTS, saying how the specs
  // differ, if they do. INVALID_ARGUMENT for bad data or a kind that is unset;
  // UNIMPLEMENTED for a kind that it does not have; NOT_FOUND for a job to
  // depend on that is not the owner's; RESOURCE_EXHAUSTED beyond his quota.
  absl::StatusOr<v1::Job> CreateJob(const v1::JobSpec& spec,
                                    const CreateOptions& options);
  // Whether CreateJob would take the spec.
  absl::Status Check(const v1::JobSpec& spec) const;
  // NOT_FOUND if unknown; INVALID_ARGUMENT if not "jobs/ULID"; also below.
  absl::StatusOr<v1::Job> Get(absl::string_view owner, absl::string_view name);
  // page_size 0: 100, at most 1000. state UNSPECIFIED: all. INVALID_ARGUMENT
  // for a negative size, or a token that is not ours.
  absl::StatusOr<JobPage> List(absl::string_view owner, int page_size,
                               absl::string_view page_token,
                               v1::JobState state);
  // See job_requests.h. A RUNNING job stops at its next batch boundary, others
  // at once. A PAUSED one keeps its records and holds nothing of the device.
  absl::StatusOr<v1::Job> Cancel(absl::string_view owner,
                                 absl::string_view name);
  absl::StatusOr<v1::Job> Pause(absl::string_view owner,
                                absl::string_view name);
  absl::StatusOr<v1::Job> Resume(absl::string_view owner,
                                 absl::string_view name);
  absl::StatusOr<v1::Job> Retry(absl::string_view owner,
                                absl::string_view name);
  // Queues the same spec under a new name. FAILED_PRECONDITION unless the
  // first SUCCEEDED; request ids as in CreateJob. `owner` gets the new job; a
  // `viewer` as of Get sees the first.
  absl::StatusOr<v1::Job> Replay(absl::string_view viewer,
                                 absl::string_view name,
                                 const CreateOptions& options);
  absl::StatusOr<v1::CompareJobsResponse> Compare(absl::string_view owner,
                                                  absl::string_view first,
                                                  absl::string_view second);
  // FAILED_PRECONDITION unless it has ended. Its watchers get NOT_FOUND.
  absl::Status Delete(absl::string_view owner, absl::string_view name);

  // Up to 1000 events numbered above `after`, without waiting.
  absl::StatusOr<JobEvents> ReadEvents(absl::string_view owner,
                                       absl::string_view name, int64_t after);
  // The same, but waits until there are some or the job has ended.
  // DEADLINE_EXCEEDED at `deadline`, CANCELLED when `stop` is requested.
  absl::StatusOr<JobEvents> WaitForEvents(absl::string_view owner,
                                          absl::string_view name, int64_t after,
                                          absl::Time deadline,
                                          const std::stop_token& stop = {});
  // See "Watching" above. Released by destroying the result.
  absl::StatusOr<std::unique_ptr<EventSubscription>> Subscribe(
      absl::string_view owner, absl::string_view name,
      std::function<void()> callback);

  // Settles what a crash left (EnterInterrupted), starts the runners. Once.
  absl::Status Start();
  // While false no job is started; true also ends all back-off waits. For the
  // worker's supervisor. Initially true.
  void SetComputeReady(bool ready);
  // Starts no more jobs while `reason` is not empty; with `stop` running ones
  // go back to the queue at their next batch boundary.
  void SetMaintenance(const std::string& reason, bool stop);
  int64_t running_count();
  // Starts no more jobs and stops running ones at their next batch boundary;
  // they go back to QUEUED, after `grace` at once, and what they still try to
  // record is refused. Later calls only shorten the grace.
  void Drain(absl::Duration grace);

 private:
  JobManager(Options options, absl::string_view newest_ulid);

  absl::Status Validate(const v1::JobSpec& spec, bool is_replay) const;
  absl::StatusOr<v1::Job> CreateNew(const v1::JobSpec& spec,
                                    const CreateOptions& options,
                                    const std::string& replay_of);
  absl::StatusOr<StoredJob> NewJob(const v1::JobSpec& spec,
                                   const CreateOptions& options,
                                   const std::string& replay_of);
  absl::StatusOr<v1::Job> Queued(const v1::Job& job);  // or left to wait
  absl::Status CheckDependencies(const CreateOptions& options);
  absl::Status AddPlace(StoredJob& stored);
  absl::Status CheckVisible(absl::string_view owner, absl::string_view name);
  // One transaction on a job of the owner's; then tells the watchers.
  absl::StatusOr<v1::Job> Change(
      absl::string_view owner, absl::string_view name,
      absl::FunctionRef<absl::Status(JobChange&, absl::Time)> edit);

  const Options options_;
  UlidGenerator names_;
  EventHub hub_;
  std::unique_ptr<WaitingJobs> waiting_;
  std::unique_ptr<JobRunner> runner_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_MANAGER_H_
