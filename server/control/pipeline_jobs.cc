#include "server/control/pipeline_jobs.h"

#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/event_hub.h"

namespace dissonance {

absl::Status PipelineJobs::Check(const v1::JobSpec& spec) {
  return jobs_->Check(spec);
}

absl::StatusOr<v1::Job> PipelineJobs::Create(const std::string& owner,
                                             const v1::JobSpec& spec,
                                             const std::string& request_id,
                                             v1::JobPriority priority) {
  ASSIGN_OR_RETURN(const v1::Job job,
                   jobs_->CreateJob(spec, {.owner = owner,
                                           .request_id = request_id,
                                           .priority = priority}));
  // With the outputs, if it was there.
  return Get(owner, job.name());
}

absl::StatusOr<v1::Job> PipelineJobs::Get(const std::string& owner,
                                          const std::string& name) {
  ASSIGN_OR_RETURN(StoredJob stored,
                   store_.Get(name, JobStore::Spec::kWithoutData));
  if (stored.owner != owner) return JobStore::NoSuchJob(name);
  // Inputs by digest are among what does not change.
  return std::move(stored.job);
}

absl::Status PipelineJobs::Retry(const std::string& owner,
                                 const std::string& name) {
  return jobs_->Retry(owner, name).status();
}

absl::Status PipelineJobs::Cancel(const std::string& owner,
                                  const std::string& name) {
  return jobs_->Cancel(owner, name).status();
}

absl::StatusOr<std::string> PipelineJobs::NetworkDigest(
    const std::string& network) {
  std::string digest;
  if (absl::StrContains(network, "/adapters/")) {
    ASSIGN_OR_RETURN(const StoredAdapter adapter, models_.GetAdapter(network));
    digest = adapter.adapter.digest();
  } else {
    ASSIGN_OR_RETURN(const StoredModel model, models_.GetModel(network));
    digest =
        absl::StrCat(model.model.digest(), " ", model.model.tokenizer_digest(),
                     " ", v1::DType_Name(model.model.dtype()));
  }
  return digest;
}

absl::StatusOr<std::string> PipelineJobs::ReadOutput(
    const v1::Job& job, absl::string_view file_name) {
  return finished_.ReadOutput(job, file_name);
}

void PipelineJobs::AwaitNews(const std::vector<std::string>& jobs,
                             absl::Duration most) {
  absl::Mutex mutex;
  bool has_news = false;
  std::vector<std::unique_ptr<EventSubscription>> subscriptions;
  for (const std::string& job : jobs) {
    auto subscription = jobs_->Subscribe("", job, [&mutex, &has_news] {
      const absl::MutexLock lock(&mutex);
      has_news = true;
    });
    if (subscription.ok()) subscriptions.push_back(*std::move(subscription));
  }
  {
    const absl::MutexLock lock(&mutex);
    mutex.AwaitWithTimeout(absl::Condition(&has_news), most);
  }
  // Callbacks take the mutex: they end before it does.
  subscriptions.clear();
}

}  // namespace dissonance
