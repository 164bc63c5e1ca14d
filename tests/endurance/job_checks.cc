#include "tests/endurance/job_checks.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Step = std::pair<v1::JobState, v1::JobState>;

// As jobs.proto tells the life of a job.
const std::set<Step>& LegalSteps() {
  static const std::set<Step> steps = {
      {v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING},
      {v1::JOB_STATE_QUEUED, v1::JOB_STATE_CANCELLED},
      {v1::JOB_STATE_WAITING, v1::JOB_STATE_QUEUED},
      {v1::JOB_STATE_WAITING, v1::JOB_STATE_FAILED},
      {v1::JOB_STATE_WAITING, v1::JOB_STATE_CANCELLED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_SUCCEEDED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_FAILED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_CANCELLING},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_QUEUED},
      {v1::JOB_STATE_CANCELLING, v1::JOB_STATE_CANCELLED},
      {v1::JOB_STATE_QUEUED, v1::JOB_STATE_PAUSED},
      {v1::JOB_STATE_WAITING, v1::JOB_STATE_PAUSED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_PAUSING},
      {v1::JOB_STATE_PAUSING, v1::JOB_STATE_PAUSED},
      {v1::JOB_STATE_PAUSING, v1::JOB_STATE_CANCELLING},
      {v1::JOB_STATE_PAUSING, v1::JOB_STATE_SUCCEEDED},
      {v1::JOB_STATE_PAUSING, v1::JOB_STATE_FAILED},
      {v1::JOB_STATE_PAUSED, v1::JOB_STATE_QUEUED},
      {v1::JOB_STATE_PAUSED, v1::JOB_STATE_WAITING},
      {v1::JOB_STATE_PAUSED, v1::JOB_STATE_CANCELLED},
      {v1::JOB_STATE_FAILED, v1::JOB_STATE_QUEUED},
      {v1::JOB_STATE_FAILED, v1::JOB_STATE_WAITING},
      {v1::JOB_STATE_CANCELLED, v1::JOB_STATE_QUEUED},
      {v1::JOB_STATE_CANCELLED, v1::JOB_STATE_WAITING}};
  return steps;
}

bool IsEnd(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED ||
         state == v1::JOB_STATE_CANCELLED;
}

void CheckStates(const v1::Job& job, absl::Span<const v1::JobEvent> events,
                 std::vector<std::string>& faults) {
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  int start_count = 0;
  for (const v1::JobEvent& event : events) {
    if (event.event_case() != v1::JobEvent::kState) continue;
    const bool is_first = state == v1::JOB_STATE_UNSPECIFIED;
    const bool is_legal = is_first
                              ? event.state() == v1::JOB_STATE_QUEUED ||
                                    event.state() == v1::JOB_STATE_WAITING
                              : LegalSteps().contains({state, event.state()});
    if (!is_legal) {
      faults.push_back(absl::StrCat("event ", event.number(), ": ",
                                    v1::JobState_Name(event.state()), " after ",
                                    v1::JobState_Name(state)));
    }
    state = event.state();
    start_count += state == v1::JOB_STATE_RUNNING ? 1 : 0;
  }
  if (state != job.state() || !IsEnd(state)) {
    faults.push_back(absl::StrCat("its events end with ",
                                  v1::JobState_Name(state), ", the job is ",
                                  v1::JobState_Name(job.state())));
  }
  if (start_count != job.attempt_count()) {
    faults.push_back(absl::StrCat(start_count, " starts, but attempt_count ",
                                  job.attempt_count()));
  }
}

void CheckProgress(const v1::Job& job, absl::Span<const v1::JobEvent> events,
                   std::vector<std::string>& faults) {
  int64_t done = 0;
  for (const v1::JobEvent& event : events) {
    if (!event.has_progress()) continue;
    if (event.progress().done_count() <= done) {
      faults.push_back(absl::StrCat("event ", event.number(), ": progress ",
                                    event.progress().done_count(), " after ",
                                    done));
    }
    done = event.progress().done_count();
  }
  const bool is_whole = job.progress().done_count() == done &&
                        (job.state() != v1::JOB_STATE_SUCCEEDED ||
                         done == job.progress().total_count());
  if (!is_whole) {
    faults.push_back(absl::StrCat("events reach ", done, " items, the job ",
                                  job.progress().done_count(), " of ",
                                  job.progress().total_count()));
  }
}

absl::StatusOr<std::string> ReadWhole(Client& client, const std::string& name) {
  v1::ReadArtifactRequest request;
  request.set_name(name);
  std::string bytes;
  RETURN_IF_ERROR(client.Read(&v1::Artifacts::Stub::ReadArtifact, request,
                              [&](const v1::ReadArtifactResponse& chunk) {
                                bytes += chunk.data();
                                return true;
                              }));
  return bytes;
}

}  // namespace

std::vector<std::string> FindEventFaults(
    const v1::Job& job, absl::Span<const v1::JobEvent> events) {
  std::vector<std::string> faults;
  int64_t number = 0;
  for (const v1::JobEvent& event : events) {
    if (event.number() != ++number) {
      faults.push_back(
          absl::StrCat("event ", event.number(), " is in place ", number));
    }
  }
  if (number != job.last_event_number()) {
    faults.push_back(absl::StrCat(number, " events, but last_event_number ",
                                  job.last_event_number()));
  }
  CheckStates(job, events, faults);
  CheckProgress(job, events, faults);
  return faults;
}

absl::StatusOr<std::map<std::string, std::string>> OutputDigests(
    Client& client, const v1::Job& job) {
  std::map<std::string, std::string> digests;
  for (const v1::JobOutput& output : job.outputs()) {
    std::string& digest = digests[output.file_name()];
    digest = output.artifact();
    if (output.file_name() != "manifest.json") continue;
    ASSIGN_OR_RETURN(const std::string bytes,
                     ReadWhole(client, output.artifact()));
    nlohmann::json manifest = nlohmann::json::parse(bytes);
    manifest.erase("run");
    digest = Sha256Of(manifest.dump());
  }
  return digests;
}

absl::StatusOr<v1::Job> WatchJob(Client& client, const std::string& name,
                                 SeenEvents& seen, size_t most) {
  const absl::Time deadline = absl::Now() + Client::kPatience;
  while (seen.size() < most) {
    v1::WatchJobRequest request;
    request.set_name(name);
    request.set_after_event_number(seen.empty() ? 0 : seen.rbegin()->first);
    int64_t number = request.after_event_number();
    v1::Job job;
    std::string fault;
    const absl::Status status = client.Read(
        &v1::Jobs::Stub::WatchJob, request,
        [&](const v1::WatchJobResponse& message) {
          if (message.has_job()) {
            job = message.job();
            return true;
          }
          if (message.event().number() != ++number) {
            fault = absl::StrCat(name, ": a watcher got event ",
                                 message.event().number(), " for ", number);
          }
          seen[message.event().number()] = message.event().SerializeAsString();
          return fault.empty() && seen.size() < most;
        });
    if (!fault.empty()) return absl::DataLossError(fault);
    if (status.ok()) return job;
    if (absl::IsCancelled(status) && seen.size() >= most) break;
    if (!absl::IsUnavailable(status) || absl::Now() > deadline) return status;
    client.PauseBeforeRetry();
  }
  return v1::Job();
}

absl::StatusOr<std::vector<v1::JobEvent>> Replay(Client& client,
                                                 const std::string& name) {
  v1::WatchJobRequest request;
  request.set_name(name);
  std::vector<v1::JobEvent> events;
  RETURN_IF_ERROR(client.Read(&v1::Jobs::Stub::WatchJob, request,
                              [&](const v1::WatchJobResponse& message) {
                                if (message.has_event()) {
                                  events.push_back(message.event());
                                }
                                return true;
                              }));
  return events;
}

}  // namespace dissonance
