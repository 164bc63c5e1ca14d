#include "src/lab/jobs/waiting_jobs.h"

#include <deque>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/job_state.h"
#include "src/lab/jobs/run_outcome.h"

namespace dissonance {
namespace {

// What is to become of a job, by those that it depends on.
struct Verdict {
  v1::JobState state = v1::JOB_STATE_WAITING;
  std::string reason = {};
};

absl::StatusOr<Verdict> VerdictOf(JobStore& store, const v1::Job& job) {
  Verdict verdict = {.state = v1::JOB_STATE_QUEUED};
  for (const std::string& name : job.depends_on()) {
    const absl::StatusOr<StoredJob> other =
        store.Get(name, JobStore::Spec::kWithoutData);
    if (absl::IsNotFound(other.status())) {
      return Verdict{.state = v1::JOB_STATE_FAILED,
                     .reason = absl::StrCat("it depends on ", name,
                                            ", which was deleted")};
    }
    RETURN_IF_ERROR(other.status());
    const v1::JobState state = other->job.state();
    if (state == v1::JOB_STATE_SUCCEEDED) continue;
    if (HasEnded(state)) {
      return Verdict{
          .state = v1::JOB_STATE_FAILED,
          .reason = absl::StrCat("it depends on ", name, ", which ",
                                 StateName(state), " (", other->job.reason(),
                                 "): retry that one, then this one")};
    }
    if (verdict.reason.empty()) {
      verdict = {.state = v1::JOB_STATE_WAITING,
                 .reason = absl::StrCat(name, ", which is ", StateName(state))};
    }
  }
  return verdict;
}

}  // namespace

absl::StatusOr<bool> WaitingJobs::Settle(const std::string& name) {
  ASSIGN_OR_RETURN(const StoredJob stored,
                   store_.Get(name, JobStore::Spec::kWithoutData));
  if (stored.job.state() != v1::JOB_STATE_WAITING) return false;
  ASSIGN_OR_RETURN(const Verdict verdict, VerdictOf(store_, stored.job));
  if (verdict.state == v1::JOB_STATE_WAITING) return false;
  const absl::Time now = clock_.Now();
  RETURN_IF_ERROR(
      store_
          .Update(name, now,
                  [&](JobChange& change) -> absl::Status {
                    // Cancelled meanwhile: nothing is left to say.
                    if (change.stored.job.state() != v1::JOB_STATE_WAITING) {
                      return absl::OkStatus();
                    }
                    return Enter(verdict.state, verdict.reason, now, change);
                  })
          .status());
  hub_.Notify(name);
  return verdict.state == v1::JOB_STATE_FAILED;
}

absl::Status WaitingJobs::SettleAfter(absl::string_view name) {
  std::deque<std::string> ended = {std::string(name)};
  while (!ended.empty()) {
    ASSIGN_OR_RETURN(const std::vector<std::string> waiting,
                     store_.WaitingFor(ended.front()));
    ended.pop_front();
    for (const std::string& job : waiting) {
      ASSIGN_OR_RETURN(const bool has_failed, Settle(job));
      // It takes others with it. Each job fails once, so this ends.
      if (has_failed) ended.push_back(job);
    }
  }
  return absl::OkStatus();
}

absl::Status WaitingJobs::SettleAll() {
  ASSIGN_OR_RETURN(const std::vector<std::string> waiting,
                   store_.NamesIn(v1::JOB_STATE_WAITING));
  // Oldest first: a job is younger than all that it depends on.
  for (const std::string& name : waiting) {
    RETURN_IF_ERROR(Settle(name).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> WaitingJobs::WaitsFor(const v1::Job& job) {
  if (job.state() != v1::JOB_STATE_WAITING) return std::string();
  ASSIGN_OR_RETURN(const Verdict verdict, VerdictOf(store_, job));
  return verdict.reason;
}

}  // namespace dissonance
