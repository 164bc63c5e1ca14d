#include "server/control/jobs_service.h"

#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "server/control/auth.h"
#include "server/control/grpc_status.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Context = grpc::CallbackServerContext;

// Runs a call of the caller's and ends it.
grpc::ServerUnaryReactor* Answer(
    Context* context, TokenStore& tokens,
    absl::FunctionRef<absl::Status(const std::string& owner)> call) {
  const absl::StatusOr<Principal> caller = CallerOf(*context, tokens);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(caller.ok() ? call(caller->user) : caller.status()));
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
  auto stream =
      std::make_shared<JobStream<Response>>(jobs_, std::move(options));
  absl::Status end;
  {
    const absl::MutexLock lock(&mutex_);
    std::erase_if(streams_, [](const auto& weak) { return weak.expired(); });
    streams_.push_back(stream);
    end = end_;
  }
  grpc::ServerWriteReactor<Response>* reactor = stream.get();
  stream->Start(stream, first);
  if (!end.ok()) stream->End(end);
  return reactor;
}

void JobsService::EndStreams(const absl::Status& status) {
  std::vector<std::shared_ptr<OpenStream>> open;
  {
    const absl::MutexLock lock(&mutex_);
    end_ = status;
    for (const std::weak_ptr<OpenStream>& weak : streams_) {
      if (std::shared_ptr<OpenStream> stream = weak.lock()) {
        open.push_back(std::move(stream));
      }
    }
  }
  for (const std::shared_ptr<OpenStream>& stream : open) stream->End(status);
}

grpc::ServerWriteReactor<v1::RunJobResponse>* JobsService::RunJob(
    Context* context, const v1::RunJobRequest* request) {
  using Failed = FailedStream<v1::RunJobResponse>;
  const absl::StatusOr<Principal> caller = CallerOf(*context, tokens_);
  if (!caller.ok()) return new Failed(caller.status());
  const absl::StatusOr<v1::Job> job = jobs_.CreateJob(
      request->spec(), {.owner = caller->user,
                        .request_id = request->request_id(),
                        .priority = v1::JOB_PRIORITY_INTERACTIVE});
  if (!job.ok()) return new Failed(job.status());
  v1::RunJobResponse first;
  *first.mutable_job() = *job;
  return Open({.owner = caller->user,
               .job = job->name(),
               .cancel_on_disconnect = request->cancel_on_disconnect()},
              first);
}

grpc::ServerWriteReactor<v1::WatchJobResponse>* JobsService::WatchJob(
    Context* context, const v1::WatchJobRequest* request) {
  using Failed = FailedStream<v1::WatchJobResponse>;
  const absl::StatusOr<Principal> caller = CallerOf(*context, tokens_);
  if (!caller.ok()) return new Failed(caller.status());
  if (request->after_event_number() < 0) {
    return new Failed(absl::InvalidArgumentError(
        "after_event_number is negative; give 0 for all events"));
  }
  return Open({.owner = caller->user,
               .job = request->name(),
               .after_event_number = request->after_event_number()},
              v1::WatchJobResponse());
}

grpc::ServerUnaryReactor* JobsService::CreateJob(
    Context* context, const v1::CreateJobRequest* request,
    v1::CreateJobResponse* response) {
  return Answer(
      context, tokens_, [&](const std::string& owner) -> absl::Status {
        ASSIGN_OR_RETURN(*response->mutable_job(),
                         jobs_.CreateJob(request->spec(),
                                         {.owner = owner,
                                          .request_id = request->request_id(),
                                          .priority = request->priority()}));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* JobsService::GetJob(Context* context,
                                              const v1::GetJobRequest* request,
                                              v1::GetJobResponse* response) {
  return Answer(context, tokens_,
                [&](const std::string& owner) -> absl::Status {
                  ASSIGN_OR_RETURN(*response->mutable_job(),
                                   jobs_.Get(owner, request->name()));
                  return absl::OkStatus();
                });
}

grpc::ServerUnaryReactor* JobsService::ListJobs(
    Context* context, const v1::ListJobsRequest* request,
    v1::ListJobsResponse* response) {
  return Answer(
      context, tokens_, [&](const std::string& owner) -> absl::Status {
        ASSIGN_OR_RETURN(JobPage page,
                         jobs_.List(owner, request->page_size(),
                                    request->page_token(), request->state()));
        for (v1::Job& job : page.jobs) *response->add_jobs() = std::move(job);
        response->set_next_page_token(page.next_page_token);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* JobsService::CancelJob(
    Context* context, const v1::CancelJobRequest* request,
    v1::CancelJobResponse* response) {
  return Answer(context, tokens_,
                [&](const std::string& owner) -> absl::Status {
                  ASSIGN_OR_RETURN(*response->mutable_job(),
                                   jobs_.Cancel(owner, request->name()));
                  return absl::OkStatus();
                });
}

grpc::ServerUnaryReactor* JobsService::RetryJob(
    Context* context, const v1::RetryJobRequest* request,
    v1::RetryJobResponse* response) {
  return Answer(context, tokens_,
                [&](const std::string& owner) -> absl::Status {
                  ASSIGN_OR_RETURN(*response->mutable_job(),
                                   jobs_.Retry(owner, request->name()));
                  return absl::OkStatus();
                });
}

grpc::ServerUnaryReactor* JobsService::DeleteJob(
    Context* context, const v1::DeleteJobRequest* request,
    v1::DeleteJobResponse* /*response*/) {
  return Answer(context, tokens_, [&](const std::string& owner) {
    return jobs_.Delete(owner, request->name());
  });
}

}  // namespace dissonance
