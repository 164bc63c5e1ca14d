#include "src/lab/jobs/job_manager.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "google/protobuf/util/time_util.h"
#include "src/base/failpoint.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/failpoints.h"
#include "src/lab/jobs/job_comparison.h"
#include "src/lab/jobs/job_inputs.h"
#include "src/lab/jobs/job_requests.h"
#include "src/lab/jobs/job_runner.h"
#include "src/lab/jobs/job_state.h"
#include "src/lab/jobs/queue_place.h"
#include "src/lab/jobs/spec_difference.h"
#include "src/lab/jobs/waiting_jobs.h"

namespace dissonance {
namespace {

constexpr absl::string_view kNamePrefix = "jobs/";
constexpr size_t kMaxRequestId = 128;
constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;
constexpr int kEventsAtATime = 1000;
constexpr size_t kMaxDependencies = 64;
// Jobs of late whose mean says how long the next one takes.
constexpr int kRecentJobs = 50;

absl::Status CheckOptions(const JobManager::Options& options) {
  if (options.store == nullptr || options.queue == nullptr ||
      options.artifacts == nullptr || options.clock == nullptr) {
    return absl::InvalidArgumentError(
        "JobManager needs a store, a queue, artifacts and a clock");
  }
  if (options.max_concurrent_jobs < 1 || options.max_endpoint_jobs < 1 ||
      options.max_pipelines < 1 || options.max_lost_count < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_concurrent_jobs is ", options.max_concurrent_jobs,
        ", max_endpoint_jobs ", options.max_endpoint_jobs, ", max_pipelines ",
        options.max_pipelines, " and max_lost_count ", options.max_lost_count,
        ": all have to be at least 1"));
  }
  return absl::OkStatus();
}

absl::Status CheckName(absl::string_view name) {
  absl::string_view ulid = name;
  if (absl::ConsumePrefix(&ulid, kNamePrefix) && IsUlid(ulid)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", absl::CHexEscape(name.substr(0, kMaxRequestId)),
      "\" is not a job's name: give \"jobs/\" and a ULID, as CreateJob "
      "returned it"));
}

absl::Status CheckRequestId(absl::string_view request_id) {
  const bool is_printable =
      std::all_of(request_id.begin(), request_id.end(),
                  [](char c) { return absl::ascii_isprint(c); });
  if (is_printable && request_id.size() <= kMaxRequestId) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "request_id: give 1 to 128 printable ASCII characters, or none");
}

absl::Status CheckOwner(absl::string_view owner, const StoredJob& stored) {
  if (owner.empty() || stored.owner == owner) return absl::OkStatus();
  return JobStore::NoSuchJob(stored.job.name());
}

absl::Status CheckFieldsKnown(const v1::JobSpec& spec) {
  v1::JobSpec known = spec;
  known.DiscardUnknownFields();
  if (known.ByteSizeLong() == spec.ByteSizeLong()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "spec has fields that this server does not know, and would not honour; "
      "it "
      "is older than the client");
}

v1::Job WithoutData(v1::Job job) {
  *job.mutable_spec() = JobStore::SpecWithoutData(job.spec());
  return job;
}

// The job made first, if `spec` asks for the same again.
absl::StatusOr<v1::Job> SameAgain(const StoredJob& first,
                                  const v1::JobSpec& spec) {
  const std::string difference = DescribeDifference(first.job.spec(), spec);
  if (difference.empty()) return WithoutData(first.job);
  return absl::AlreadyExistsError(
      absl::StrCat("request_id \"", first.job.request_id(), "\" was used for ",
                   first.job.name(), " with another spec (", difference,
                   "): use a new request_id"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobManager>> JobManager::Create(
    Options options) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(const std::string newest, options.store->NewestName());
  return std::unique_ptr<JobManager>(new JobManager(
      std::move(options), absl::StripPrefix(newest, kNamePrefix)));
}

JobManager::JobManager(Options options, absl::string_view newest_ulid)
    : options_(std::move(options)),
      names_(*options_.clock, newest_ulid),
      waiting_(std::make_unique<WaitingJobs>(*options_.store, hub_,
                                             *options_.clock)),
      runner_(std::make_unique<JobRunner>(options_, hub_, *waiting_)) {}

JobManager::~JobManager() = default;

absl::Status JobManager::Validate(const v1::JobSpec& spec,
                                  bool is_replay) const {
  if (spec.kind_case() == v1::JobSpec::KIND_NOT_SET) {
    return absl::InvalidArgumentError("spec.kind is not set: choose one");
  }
  const auto kind = options_.kinds.find(spec.kind_case());
  if (kind == options_.kinds.end()) {
    const auto* field = v1::JobSpec::descriptor()->FindFieldByNumber(
        static_cast<int>(spec.kind_case()));
    return absl::UnimplementedError(absl::StrCat(
        "spec.", field->name(), ": this server does not run such jobs"));
  }
  return is_replay ? kind->second->ValidateReplay(spec)
                   : kind->second->Validate(spec);
}

absl::Status JobManager::CheckDependencies(const CreateOptions& options) {
  if (options.depends_on.size() > kMaxDependencies) {
    return absl::InvalidArgumentError(
        absl::StrCat("depends_on names ", options.depends_on.size(),
                     " jobs; at most ", kMaxDependencies));
  }
  for (const std::string& name : options.depends_on) {
    RETURN_IF_ERROR(Annotate(CheckVisible(options.owner, name), "depends_on"));
  }
  return absl::OkStatus();
}

absl::Status JobManager::Check(const v1::JobSpec& spec) const {
  RETURN_IF_ERROR(CheckFieldsKnown(spec));
  ASSIGN_OR_RETURN(const v1::JobSpec with_data,
                   WithData(spec, *options_.artifacts));
  return Validate(with_data, /*is_replay=*/false);
}

absl::StatusOr<v1::Job> JobManager::CreateJob(const v1::JobSpec& spec,
                                              const CreateOptions& options) {
  return CreateNew(spec, options, /*replay_of=*/"");
}

absl::StatusOr<v1::Job> JobManager::CreateNew(const v1::JobSpec& spec,
                                              const CreateOptions& options,
                                              const std::string& replay_of) {
  if (options.owner.empty()) {
    return absl::InvalidArgumentError("a job needs an owner");
  }
  if (!v1::JobPriority_IsValid(options.priority)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "priority ", static_cast<int>(options.priority), " is unknown"));
  }
  RETURN_IF_ERROR(CheckRequestId(options.request_id));
  ASSIGN_OR_RETURN(
      const std::optional<StoredJob> first,
      options_.store->FindByRequest(options.owner, options.request_id));
  if (first.has_value()) return SameAgain(*first, spec);
  RETURN_IF_ERROR(CheckDependencies(options));
  ASSIGN_OR_RETURN(const StoredJob stored, NewJob(spec, options, replay_of));
  Failpoint(kFailpointBeforeCreate);
  // Until the job's row names them.
  for (const std::string& artifact : ArtifactsOf(spec)) {
    RETURN_IF_ERROR(options_.artifacts->Keep(artifact));
  }
  QueueLimits limits = {.interactive = options_.interactive_limit};
  if (options_.quota) {
    limits.pending = options_.quota(options.owner).queued_job_count();
  }
  ASSIGN_OR_RETURN(const CreatedJob result,
                   options_.store->Create(stored, limits, ArtifactsOf(spec)));
  if (!result.created) return SameAgain(result.stored, spec);
  Failpoint(kFailpointCreated);
  return Queued(result.stored.job);
}

absl::StatusOr<v1::Job> JobManager::Queued(const v1::Job& job) {
  StoredJob stored = {.job = job};
  if (job.state() == v1::JOB_STATE_WAITING) {
    // What it depends on may have ended already.
    RETURN_IF_ERROR(waiting_->Settle(job.name()).status());
    ASSIGN_OR_RETURN(
        stored, options_.store->Get(job.name(), JobStore::Spec::kWithoutData));
  }
  runner_->Wake();
  return WithoutData(std::move(stored.job));
}

absl::StatusOr<StoredJob> JobManager::NewJob(const v1::JobSpec& spec,
                                             const CreateOptions& options,
                                             const std::string& replay_of) {
  RETURN_IF_ERROR(CheckFieldsKnown(spec));
  ASSIGN_OR_RETURN(const v1::JobSpec with_data,
                   WithData(spec, *options_.artifacts));
  RETURN_IF_ERROR(Validate(with_data, !replay_of.empty()));
  StoredJob stored;
  stored.owner = options.owner;
  v1::Job& job = stored.job;
  job.set_name(absl::StrCat(kNamePrefix, names_.Next()));
  *job.mutable_spec() = spec;
  job.set_state(options.depends_on.empty() ? v1::JOB_STATE_QUEUED
                                           : v1::JOB_STATE_WAITING);
  job.set_priority(options.priority == v1::JOB_PRIORITY_UNSPECIFIED
                       ? v1::JOB_PRIORITY_NORMAL
                       : options.priority);
  *job.mutable_create_time() =
      google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(
          absl::ToUnixMicros(options_.clock->Now()));
  job.set_request_id(options.request_id);
  stored.place = options_.kinds.at(spec.kind_case())->Place(with_data);
  job.mutable_progress();
  job.mutable_usage();
  job.set_config_toml(options_.config_toml);
  job.set_replay_of(replay_of);
  for (const std::string& name : options.depends_on) job.add_depends_on(name);
  for (v1::JobInput& input : InputsOf(with_data)) {
    *job.add_inputs() = std::move(input);
  }
  return stored;
}

absl::StatusOr<v1::Job> JobManager::Replay(absl::string_view viewer,
                                           absl::string_view name,
                                           const CreateOptions& options) {
  RETURN_IF_ERROR(CheckName(name));
  ASSIGN_OR_RETURN(const StoredJob first,
                   options_.store->Get(name, JobStore::Spec::kFull));
  RETURN_IF_ERROR(CheckOwner(viewer, first));
  if (first.job.state() != v1::JOB_STATE_SUCCEEDED) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " is ", StateName(first.job.state()),
                     " and has no complete files to compare with: replay a job "
                     "that SUCCEEDED"));
  }
  return CreateNew(first.job.spec(), options, first.job.name());
}

absl::StatusOr<v1::CompareJobsResponse> JobManager::Compare(
    absl::string_view owner, absl::string_view first,
    absl::string_view second) {
  std::vector<v1::Job> jobs;
  for (const absl::string_view name : {first, second}) {
    RETURN_IF_ERROR(CheckName(name));
    ASSIGN_OR_RETURN(StoredJob stored,
                     options_.store->Get(name, JobStore::Spec::kWithoutData));
    RETURN_IF_ERROR(CheckOwner(owner, stored));
    jobs.push_back(std::move(stored.job));
  }
  return CompareTwoJobs(jobs[0], jobs[1]);
}

absl::Status JobManager::AddPlace(StoredJob& stored) {
  const std::string& owner = stored.owner;
  v1::Job& job = stored.job;
  SetEstimatedRemaining(job);
  if (job.state() == v1::JOB_STATE_WAITING) {
    ASSIGN_OR_RETURN(std::string reason, waiting_->WaitsFor(job));
    job.mutable_queue()->set_waits_for(std::move(reason));
  }
  if (job.state() != v1::JOB_STATE_QUEUED) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<QueueCount> counts,
                   options_.queue->Counts(job.name()));
  int64_t older = 0;
  for (const QueueCount& count : counts) {
    const bool is_own =
        count.owner == owner && count.priority == job.priority();
    if (is_own) older = count.older_count;
  }
  ASSIGN_OR_RETURN(const double mean_seconds,
                   options_.queue->MeanDeviceSeconds(kRecentJobs));
  const int64_t position = QueuePosition(
      owner, job.priority(), older, counts, [this](const std::string& user) {
        return options_.ledger == nullptr
                   ? 0.0
                   : options_.ledger->Of(user).decayed_seconds;
      });
  v1::QueueStatus& queue = *job.mutable_queue();
  queue.set_position(position);
  // Jobs that run now count too: of the device's time, half of each is left.
  const double jobs_ahead = static_cast<double>(position - 1) +
                            static_cast<double>(runner_->running_count()) / 2;
  if (mean_seconds > 0) {
    *queue.mutable_estimated_wait() =
        google::protobuf::util::TimeUtil::MillisecondsToDuration(
            static_cast<int64_t>(jobs_ahead * mean_seconds * 1000));
  }
  queue.set_waits_for(runner_->WhyNot(owner, stored.place));
  return absl::OkStatus();
}

absl::StatusOr<v1::Job> JobManager::Get(absl::string_view owner,
                                        absl::string_view name) {
  RETURN_IF_ERROR(CheckName(name));
  ASSIGN_OR_RETURN(StoredJob stored,
                   options_.store->Get(name, JobStore::Spec::kFull));
  RETURN_IF_ERROR(CheckOwner(owner, stored));
  stored.job.set_retry_limit(options_.max_lost_count);
  RETURN_IF_ERROR(AddPlace(stored));
  return std::move(stored.job);
}

absl::StatusOr<JobPage> JobManager::List(absl::string_view owner, int page_size,
                                         absl::string_view page_token,
                                         v1::JobState state) {
  if (page_size < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size is ", page_size, ": give 0 to 1000"));
  }
  if (!page_token.empty() && !IsUlid(page_token)) {
    return absl::InvalidArgumentError(
        "page_token: give the next_page_token of the page before, unchanged");
  }
  const int limit =
      page_size == 0 ? kDefaultPageSize : std::min(page_size, kMaxPageSize);
  const std::string before =
      page_token.empty() ? "" : absl::StrCat(kNamePrefix, page_token);
  JobPage page;
  ASSIGN_OR_RETURN(page.jobs, options_.store->List({.owner = owner,
                                                    .state = state,
                                                    .before = before,
                                                    .limit = limit + 1}));
  if (page.jobs.size() > static_cast<size_t>(limit)) {
    page.jobs.pop_back();
    page.next_page_token =
        std::string(absl::StripPrefix(page.jobs.back().name(), kNamePrefix));
  }
  return page;
}

absl::StatusOr<v1::Job> JobManager::Change(
    absl::string_view owner, absl::string_view name,
    absl::FunctionRef<absl::Status(JobChange&, absl::Time)> edit) {
  RETURN_IF_ERROR(CheckName(name));
  const absl::Time now = options_.clock->Now();
  ASSIGN_OR_RETURN(
      StoredJob stored,
      options_.store->Update(name, now, [&](JobChange& change) -> absl::Status {
        RETURN_IF_ERROR(CheckOwner(owner, change.stored));
        return edit(change, now);
      }));
  hub_.Notify(name);
  return std::move(stored.job);
}

absl::StatusOr<v1::Job> JobManager::Cancel(absl::string_view owner,
                                           absl::string_view name) {
  ASSIGN_OR_RETURN(v1::Job job, Change(owner, name, CancelOnRequest));
  if (job.state() == v1::JOB_STATE_CANCELLING) {
    runner_->RequestStop(name, job.attempt_count());
  } else {
    RETURN_IF_ERROR(waiting_->SettleAfter(name));
  }
  return job;
}

absl::StatusOr<v1::Job> JobManager::Pause(absl::string_view owner,
                                          absl::string_view name) {
  ASSIGN_OR_RETURN(v1::Job job, Change(owner, name, PauseOnRequest));
  if (job.state() == v1::JOB_STATE_PAUSING) {
    runner_->RequestStop(name, job.attempt_count());
  }
  return job;
}

absl::StatusOr<v1::Job> JobManager::Resume(absl::string_view owner,
                                           absl::string_view name) {
  ASSIGN_OR_RETURN(const v1::Job job, Change(owner, name, ResumeOnRequest));
  return Queued(job);
}

absl::StatusOr<v1::Job> JobManager::Retry(absl::string_view owner,
                                          absl::string_view name) {
  ASSIGN_OR_RETURN(const v1::Job job, Change(owner, name, RetryOnRequest));
  return Queued(job);
}

absl::Status JobManager::Delete(absl::string_view owner,
                                absl::string_view name) {
  RETURN_IF_ERROR(CheckName(name));
  RETURN_IF_ERROR(options_.store->Delete(
      name, [owner](const StoredJob& stored) -> absl::Status {
        RETURN_IF_ERROR(CheckOwner(owner, stored));
        if (HasEnded(stored.job.state())) return absl::OkStatus();
        return absl::FailedPreconditionError(absl::StrCat(
            stored.job.name(), " is ", StateName(stored.job.state()),
            " and cannot be deleted: cancel it first"));
      }));
  hub_.Notify(name);
  return absl::OkStatus();
}

absl::Status JobManager::CheckVisible(absl::string_view owner,
                                      absl::string_view name) {
  RETURN_IF_ERROR(CheckName(name));
  ASSIGN_OR_RETURN(const StoredJob stored,
                   options_.store->Get(name, JobStore::Spec::kWithoutData));
  return CheckOwner(owner, stored);
}

absl::StatusOr<JobEvents> JobManager::ReadEvents(absl::string_view owner,
                                                 absl::string_view name,
                                                 int64_t after) {
  RETURN_IF_ERROR(CheckVisible(owner, name));
  return options_.store->Events(name, after, kEventsAtATime);
}

absl::StatusOr<std::unique_ptr<EventSubscription>> JobManager::Subscribe(
    absl::string_view owner, absl::string_view name,
    std::function<void()> callback) {
  RETURN_IF_ERROR(CheckVisible(owner, name));
  return hub_.Subscribe(name, std::move(callback));
}

absl::StatusOr<JobEvents> JobManager::WaitForEvents(
    absl::string_view owner, absl::string_view name, int64_t after,
    absl::Time deadline, const std::stop_token& stop) {
  absl::Mutex mutex;
  bool has_news = false;
  bool is_stopped = false;
  const auto signal = [&mutex](bool& flag) {
    absl::MutexLock lock(&mutex);
    flag = true;
  };
  const auto is_awake = [&] { return has_news || is_stopped; };
  ASSIGN_OR_RETURN(const std::unique_ptr<EventSubscription> subscription,
                   Subscribe(owner, name, [&] { signal(has_news); }));
  const std::stop_callback on_stop(stop, [&] { signal(is_stopped); });
  while (true) {
    ASSIGN_OR_RETURN(JobEvents result, ReadEvents(owner, name, after));
    if (!result.events.empty() || result.ended_job.has_value()) return result;
    absl::MutexLock lock(&mutex);
    if (!mutex.AwaitWithDeadline(absl::Condition(&is_awake), deadline)) {
      return absl::DeadlineExceededError(
          absl::StrCat("no event of ", name, " after number ", after));
    }
    if (is_stopped) return absl::CancelledError("the watcher went away");
    has_news = false;
  }
}

absl::Status JobManager::Start() { return runner_->Start(); }
void JobManager::SetComputeReady(bool ready) {
  runner_->SetComputeReady(ready);
}
void JobManager::SetMaintenance(const std::string& reason, bool stop) {
  runner_->SetMaintenance(reason, stop);
}
int64_t JobManager::running_count() { return runner_->running_count(); }
void JobManager::Drain(absl::Duration grace) { runner_->Drain(grace); }

}  // namespace dissonance
