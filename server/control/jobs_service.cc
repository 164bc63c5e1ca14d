#include "server/control/jobs_service.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "server/control/auth.h"
#include "server/control/grpc_status.h"
#include "server/control/named_models.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/job_inputs.h"

namespace dissonance {
namespace {

using Context = grpc::CallbackServerContext;

// Runs a call of the caller's and ends it.
grpc::ServerUnaryReactor* Answer(
    Context* context, TokenStore& tokens,
    absl::FunctionRef<absl::Status(const Principal& caller)> call) {
  const absl::StatusOr<Principal> caller = CallerOf(*context, tokens);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(caller.ok() ? call(*caller) : caller.status()));
  return reactor;
}

// A stream that ends at once.
template <typename Response>
class FailedStream final : public grpc::ServerWriteReactor<Response> {
 public:
  explicit FailedStream(const absl::Status& status) {
    this->Finish(ToGrpc(status));
  }
  void OnDone() override { delete this; }
};

}  // namespace

template <typename Response>
grpc::ServerWriteReactor<Response>* JobsService::Open(JobStreamOptions options,
                                                      const Response& first) {
  auto stream = std::make_shared<JobStream<Response>>(jobs_, parts_.streams,
                                                      std::move(options));
  grpc::ServerWriteReactor<Response>* reactor = stream.get();
  stream->Start(stream, first);
  return reactor;
}

absl::Status JobsService::CheckMayCreate(const Principal& caller,
                                         const v1::JobSpec& spec) const {
  const Viewer viewer = ViewerOf(caller);
  ASSIGN_OR_RETURN(const NamedModels named, ModelsNeededBy(spec));
  RETURN_IF_ERROR(parts_.access.CheckSeesAll(viewer, named));
  RETURN_IF_ERROR(CheckTakesOutputs(parts_.access, viewer, spec));
  RETURN_IF_ERROR(CheckReadsJobs(caller, spec));
  for (const v1::PipelineStage& stage : spec.pipeline().stages()) {
    RETURN_IF_ERROR(CheckReadsJobs(caller, stage.spec()));
  }
  for (const std::string& artifact : ArtifactsOf(spec)) {
    RETURN_IF_ERROR(parts_.artifacts.Get(artifact, viewer).status());
  }
  return parts_.quotas.CheckArtifacts(caller.user);
}

absl::Status JobsService::CheckReadsJobs(const Principal& caller,
                                         const v1::JobSpec& spec) const {
  for (const std::string& job :
       {spec.train_probes().activations_job(), spec.judge().job()}) {
    if (job.empty()) continue;
    RETURN_IF_ERROR(jobs_.Get(JobsOwnerOf(caller), job).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Job> JobsService::MadeFirst(const v1::JobSpec& spec,
                                               const CreateJobOptions& options,
                                               const absl::Status& none) const {
  ASSIGN_OR_RETURN(
      std::optional<StoredJob> first,
      parts_.store.FindByRequest(options.owner, options.request_id));
  if (!first.has_value() || first->job.spec().kind_case() != spec.kind_case()) {
    return none;
  }
  *first->job.mutable_spec() = JobStore::SpecWithoutData(first->job.spec());
  return std::move(first->job);
}

absl::StatusOr<v1::Job> JobsService::Create(const Principal& caller,
                                            const v1::JobSpec& spec,
                                            const CreateJobOptions& options) {
  RETURN_IF_ERROR(CheckMayCreate(caller, spec));
  ASSIGN_OR_RETURN(const NamedModels named, ModelsNamedIn(spec));
  if (named.directions.empty()) return jobs_.CreateJob(spec, options);
  // What the names stand for now is what the job, and its replays, compute.
  v1::JobSpec resolved = spec;
  const absl::Status status =
      parts_.directions.Resolve(ViewerOf(caller), resolved);
  if (absl::IsNotFound(status)) return MadeFirst(spec, options, status);
  RETURN_IF_ERROR(status);
  return jobs_.CreateJob(resolved, options);
}

grpc::ServerWriteReactor<v1::RunJobResponse>* JobsService::RunJob(
    Context* context, const v1::RunJobRequest* request) {
  using Failed = FailedStream<v1::RunJobResponse>;
  const absl::StatusOr<Principal> caller = CallerOf(*context, parts_.tokens);
  if (!caller.ok()) return new Failed(caller.status());
  const absl::StatusOr<v1::Job> job =
      Create(*caller, request->spec(),
             {.owner = caller->user,
              .request_id = request->request_id(),
              .priority = v1::JOB_PRIORITY_INTERACTIVE,
              .depends_on = {request->depends_on().begin(),
                             request->depends_on().end()}});
  if (!job.ok()) return new Failed(job.status());
  v1::RunJobResponse first;
  *first.mutable_job() = *job;
  return Open({.owner = caller->user,
               .token = caller->token,
               .job = job->name(),
               .cancel_on_disconnect = request->cancel_on_disconnect()},
              first);
}

grpc::ServerWriteReactor<v1::WatchJobResponse>* JobsService::WatchJob(
    Context* context, const v1::WatchJobRequest* request) {
  using Failed = FailedStream<v1::WatchJobResponse>;
  const absl::StatusOr<Principal> caller = CallerOf(*context, parts_.tokens);
  if (!caller.ok()) return new Failed(caller.status());
  if (request->after_event_number() < 0) {
    return new Failed(absl::InvalidArgumentError(
        "after_event_number is negative; give 0 for all events"));
  }
  return Open({.owner = JobsOwnerOf(*caller),
               .token = caller->token,
               .job = request->name(),
               .after_event_number = request->after_event_number()},
              v1::WatchJobResponse());
}

grpc::ServerUnaryReactor* JobsService::CreateJob(
    Context* context, const v1::CreateJobRequest* request,
    v1::CreateJobResponse* response) {
  return Answer(
      context, parts_.tokens, [&](const Principal& caller) -> absl::Status {
        ASSIGN_OR_RETURN(*response->mutable_job(),
                         Create(caller, request->spec(),
                                {.owner = caller.user,
                                 .request_id = request->request_id(),
                                 .priority = request->priority(),
                                 .depends_on = {request->depends_on().begin(),
                                                request->depends_on().end()}}));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* JobsService::GetJob(Context* context,
                                              const v1::GetJobRequest* request,
                                              v1::GetJobResponse* response) {
  return Answer(
      context, parts_.tokens, [&](const Principal& caller) -> absl::Status {
        ASSIGN_OR_RETURN(*response->mutable_job(),
                         jobs_.Get(JobsOwnerOf(caller), request->name()));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* JobsService::ListJobs(
    Context* context, const v1::ListJobsRequest* request,
    v1::ListJobsResponse* response) {
  return Answer(
      context, parts_.tokens, [&](const Principal& caller) -> absl::Status {
        if (request->all_users() && !caller.is_admin()) {
          return absl::PermissionDeniedError(
              "all_users needs a token of scope admin");
        }
        ASSIGN_OR_RETURN(JobPage page,
                         jobs_.List(request->all_users() ? "" : caller.user,
                                    request->page_size(), request->page_token(),
                                    request->state()));
        for (v1::Job& job : page.jobs) *response->add_jobs() = std::move(job);
        response->set_next_page_token(page.next_page_token);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* JobsService::CancelJob(
    Context* context, const v1::CancelJobRequest* request,
    v1::CancelJobResponse* response) {
  return Answer(
      context, parts_.tokens, [&](const Principal& caller) -> absl::Status {
        ASSIGN_OR_RETURN(*response->mutable_job(),
                         jobs_.Cancel(JobsOwnerOf(caller), request->name()));
        if (!response->job().spec().has_pipeline() ||
            !parts_.pipeline_cancelled) {
          return absl::OkStatus();
        }
        return parts_.pipeline_cancelled(response->job());
      });
}

grpc::ServerUnaryReactor* JobsService::RetryJob(
    Context* context, const v1::RetryJobRequest* request,
    v1::RetryJobResponse* response) {
  return Answer(
      context, parts_.tokens, [&](const Principal& caller) -> absl::Status {
        const std::string viewer = JobsOwnerOf(caller);
        ASSIGN_OR_RETURN(const v1::Job job, jobs_.Get(viewer, request->name()));
        // What it names may not be shared any more.
        RETURN_IF_ERROR(CheckMayCreate(caller, job.spec()));
        ASSIGN_OR_RETURN(*response->mutable_job(),
                         jobs_.Retry(viewer, request->name()));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* JobsService::PauseJob(
    Context* context, const v1::PauseJobRequest* request,
    v1::PauseJobResponse* response) {
  return Answer(
      context, parts_.tokens, [&](const Principal& caller) -> absl::Status {
        ASSIGN_OR_RETURN(*response->mutable_job(),
                         jobs_.Pause(JobsOwnerOf(caller), request->name()));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* JobsService::ResumeJob(
    Context* context, const v1::ResumeJobRequest* request,
    v1::ResumeJobResponse* response) {
  return Answer(
      context, parts_.tokens, [&](const Principal& caller) -> absl::Status {
        const std::string viewer = JobsOwnerOf(caller);
        ASSIGN_OR_RETURN(const v1::Job job, jobs_.Get(viewer, request->name()));
        // What it names may not be shared any more.
        RETURN_IF_ERROR(CheckMayCreate(caller, job.spec()));
        ASSIGN_OR_RETURN(*response->mutable_job(),
                         jobs_.Resume(viewer, request->name()));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* JobsService::DeleteJob(
    Context* context, const v1::DeleteJobRequest* request,
    v1::DeleteJobResponse* /*response*/) {
  return Answer(context, parts_.tokens, [&](const Principal& caller) {
    return jobs_.Delete(JobsOwnerOf(caller), request->name());
  });
}

grpc::ServerUnaryReactor* JobsService::ReplayJob(
    Context* context, const v1::ReplayJobRequest* request,
    v1::ReplayJobResponse* response) {
  return Answer(
      context, parts_.tokens, [&](const Principal& caller) -> absl::Status {
        const std::string viewer = JobsOwnerOf(caller);
        ASSIGN_OR_RETURN(const v1::Job first,
                         jobs_.Get(viewer, request->name()));
        RETURN_IF_ERROR(CheckMayCreate(caller, first.spec()));
        ASSIGN_OR_RETURN(*response->mutable_job(),
                         jobs_.Replay(viewer, request->name(),
                                      {.owner = caller.user,
                                       .request_id = request->request_id(),
                                       .priority = request->priority()}));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* JobsService::CompareJobs(
    Context* context, const v1::CompareJobsRequest* request,
    v1::CompareJobsResponse* response) {
  return Answer(
      context, parts_.tokens, [&](const Principal& caller) -> absl::Status {
        ASSIGN_OR_RETURN(
            *response, jobs_.Compare(JobsOwnerOf(caller), request->first_job(),
                                     request->second_job()));
        return absl::OkStatus();
      });
}

}  // namespace dissonance
