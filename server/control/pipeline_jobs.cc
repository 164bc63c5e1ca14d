#include "server/control/pipeline_jobs.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/event_hub.h"
#include "src/lab/report/report_stage.h"

namespace dissonance {

absl::Status PipelineJobs::Check(const v1::JobSpec& spec) {
  return jobs_->Check(spec);
}

absl::StatusOr<v1::Job> PipelineJobs::Create(const std::string& owner,
                                             const v1::JobSpec& spec,
                                             const std::string& request_id,
                                             v1::JobPriority priority) {
  ASSIGN_OR_RETURN(const std::optional<StoredJob> found,
                   parts_.store.FindByRequest(owner, request_id));
  if (!found.has_value()) {
    const absl::Status checked = jobs_->Check(spec);
    // Of data, which waiting does not make smaller.
    if (absl::IsResourceExhausted(checked)) {
      return absl::FailedPreconditionError(checked.message());
    }
    RETURN_IF_ERROR(checked);
    RETURN_IF_ERROR(parts_.quotas.CheckArtifacts(owner));
  }
  ASSIGN_OR_RETURN(const v1::Job job,
                   jobs_->CreateJob(spec, {.owner = owner,
                                           .request_id = request_id,
                                           .priority = priority}));
  // With the outputs, if it was there.
  return Get(owner, job.name());
}

absl::StatusOr<v1::Job> PipelineJobs::Replay(const std::string& owner,
                                             const std::string& first_request,
                                             const std::string& request_id,
                                             v1::JobPriority priority) {
  ASSIGN_OR_RETURN(const std::optional<StoredJob> first,
                   parts_.store.FindByRequest(owner, first_request));
  if (!first.has_value()) return absl::NotFoundError("there is no first run");
  ASSIGN_OR_RETURN(const v1::Job job, jobs_->Replay(owner, first->job.name(),
                                                    {.owner = owner,
                                                     .request_id = request_id,
                                                     .priority = priority}));
  return Get(owner, job.name());
}

absl::StatusOr<v1::Job> PipelineJobs::Get(const std::string& owner,
                                          const std::string& name) {
  ASSIGN_OR_RETURN(StoredJob stored,
                   parts_.store.Get(name, JobStore::Spec::kWithoutData));
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

absl::Status PipelineJobs::EnsureAdapter(const std::string& owner,
                                         const v1::Job& training,
                                         const std::string& adapter) {
  v1::RegisterAdapterRequest request;
  request.set_name(adapter);
  request.set_visibility(training.spec().fine_tune().visibility());
  v1::AdapterArtifacts& files = *request.mutable_artifacts();
  for (const v1::JobOutput& output : training.outputs()) {
    if (output.file_name() == "adapter_config.json") {
      files.set_config(output.artifact());
    }
    if (output.file_name() == "adapter_model.safetensors") {
      files.set_weights(output.artifact());
    }
  }
  const absl::StatusOr<StoredAdapter> known = parts_.models.GetAdapter(adapter);
  if (known.ok() && known->resident &&
      known->adapter.artifacts().config() == files.config() &&
      known->adapter.artifacts().weights() == files.weights()) {
    return absl::OkStatus();
  }
  return parts_.registrar.Register(owner, request, {}).status();
}

absl::Status PipelineJobs::CancelStagesOf(const v1::Job& pipeline) {
  const std::string owner(absl::StripPrefix(pipeline.owner(), "users/"));
  const absl::StatusOr<std::string> file =
      parts_.finished.ReadOutput(pipeline, kStagesFileName);
  // Nothing has begun.
  if (absl::IsNotFound(file.status())) return absl::OkStatus();
  RETURN_IF_ERROR(file.status());
  ASSIGN_OR_RETURN(const std::vector<StageEntry> stages, ReadStages(*file));
  absl::Status status;
  for (const StageEntry& stage : stages) {
    if (stage.job.empty()) continue;
    const absl::Status cancelled = Cancel(owner, stage.job);
    // Ended, or deleted.
    if (absl::IsFailedPrecondition(cancelled) || absl::IsNotFound(cancelled)) {
      continue;
    }
    status.Update(cancelled);
  }
  return status;
}

absl::StatusOr<std::string> PipelineJobs::NetworkDigest(
    const std::string& network) {
  std::string digest;
  if (absl::StrContains(network, "/adapters/")) {
    ASSIGN_OR_RETURN(const StoredAdapter adapter,
                     parts_.models.GetAdapter(network));
    digest = adapter.adapter.digest();
  } else {
    ASSIGN_OR_RETURN(const StoredModel model, parts_.models.GetModel(network));
    digest =
        absl::StrCat(model.model.digest(), " ", model.model.tokenizer_digest(),
                     " ", v1::DType_Name(model.model.dtype()));
  }
  return digest;
}

absl::StatusOr<v1::Model> PipelineJobs::GetModel(const std::string& name) {
  ASSIGN_OR_RETURN(StoredModel stored, parts_.models.GetModel(name));
  return std::move(stored.model);
}

absl::StatusOr<std::string> PipelineJobs::ReadOutput(
    const v1::Job& job, absl::string_view file_name) {
  return parts_.finished.ReadOutput(job, file_name);
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
