#include "tests/client/fake_server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"

namespace dissonance {
namespace {

grpc::Status NotFound(const std::string& name) {
  return {grpc::StatusCode::NOT_FOUND, absl::StrCat(name, " does not exist")};
}

}  // namespace

FakeServer::FakeServer(const std::string& socket_path, const std::string& token)
    : token_(token),
      inference_([this](const grpc::ServerContext& context) {
        return Check(context);
      }),
      interpretability_(
          [this](const grpc::ServerContext& context) { return Check(context); },
          stopping_),
      artifacts_([this](const grpc::ServerContext& context) {
        return Check(context);
      }),
      directions_([this](const grpc::ServerContext& context) {
        return Check(context);
      }),
      admin_([this](const grpc::ServerContext& context) {
        return Check(context);
      }) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(absl::StrCat("unix:", socket_path),
                           grpc::InsecureServerCredentials());
  builder.RegisterService(static_cast<v1::Models::Service*>(this));
  builder.RegisterService(&inference_);
  builder.RegisterService(&interpretability_);
  builder.RegisterService(static_cast<v1::Jobs::Service*>(this));
  builder.RegisterService(&artifacts_);
  builder.RegisterService(static_cast<v1::Directions::Service*>(&directions_));
  builder.RegisterService(static_cast<v1::Probes::Service*>(&directions_));
  builder.RegisterService(&admin_);
  server_ = builder.BuildAndStart();
}

FakeServer::~FakeServer() {
  stopping_.Notify();
  inference_.Stop();
  if (server_) server_->Shutdown(absl::ToChronoTime(absl::Now()));
}

grpc::Status FakeServer::Check(const grpc::ServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("authorization");
  absl::MutexLock lock(&mutex_);
  const std::string expected = absl::StrCat("Bearer ", token_);
  if (found == metadata.end() ||
      std::string(found->second.data(), found->second.size()) != expected) {
    return {grpc::StatusCode::UNAUTHENTICATED, "the token is not known"};
  }
  if (failure_count_ == 0) return grpc::Status::OK;
  --failure_count_;
  return failure_;
}

void FakeServer::AddModel(const std::string& name, int64_t parameter_count,
                          const std::string& tokenizer_digest) {
  absl::MutexLock lock(&mutex_);
  v1::Model& model = models_[absl::StrCat("models/", name)];
  model.set_name(absl::StrCat("models/", name));
  model.set_path("/weights/" + name);
  model.set_architecture("LlamaForCausalLM");
  model.set_dtype(v1::DTYPE_FLOAT32);
  model.set_device("cpu");
  model.set_parameter_count(parameter_count);
  model.set_resident_bytes(4 * parameter_count);
  model.set_block_count(6);
  model.set_resident(true);
  model.set_digest("sha256:abc");
  model.set_tokenizer_digest(tokenizer_digest);
  model.set_owner("users/ann");
  model.set_visibility(v1::VISIBILITY_LAB);
}

void FakeServer::AddAdapter(const std::string& model, const std::string& name) {
  absl::MutexLock lock(&mutex_);
  const std::string full = absl::StrCat("models/", model, "/adapters/", name);
  v1::Adapter& adapter = adapters_[full];
  adapter.set_name(full);
  adapter.set_rank(8);
  adapter.add_target_modules("q_proj");
  adapter.set_resident(true);
  adapter.set_resident_bytes(2048);
  adapter.set_owner("users/ann");
  adapter.set_visibility(v1::VISIBILITY_PRIVATE);
}

void FakeServer::AddJob(const v1::Job& job) {
  absl::MutexLock lock(&mutex_);
  jobs_[job.name()] = job;
}

void FakeServer::SetToken(const std::string& token) {
  absl::MutexLock lock(&mutex_);
  token_ = token;
}

void FakeServer::SetComparison(const v1::CompareJobsResponse& comparison) {
  absl::MutexLock lock(&mutex_);
  comparison_ = comparison;
}

void FakeServer::AddStream(WatchStream stream) {
  absl::MutexLock lock(&mutex_);
  streams_.push_back(std::move(stream));
}

void FakeServer::FailWith(const grpc::Status& status, int count) {
  absl::MutexLock lock(&mutex_);
  failure_ = status;
  failure_count_ = count;
}

void FakeServer::SetInvariants(std::vector<v1::Invariant> invariants) {
  absl::MutexLock lock(&mutex_);
  invariants_ = std::move(invariants);
}

void FakeServer::SetOutputs(const std::map<std::string, std::string>& files) {
  for (const auto& [file_name, contents] : files) {
    const std::string artifact = artifacts_.Add(contents);
    absl::MutexLock lock(&mutex_);
    outputs_[file_name] = artifact;
  }
}

FakeServer::Outputs FakeServer::outputs() {
  absl::MutexLock lock(&mutex_);
  return outputs_;
}

std::vector<int64_t> FakeServer::watch_cursors() {
  absl::MutexLock lock(&mutex_);
  return watch_cursors_;
}

std::vector<std::string> FakeServer::cancelled_jobs() {
  absl::MutexLock lock(&mutex_);
  return cancelled_jobs_;
}

std::vector<v1::CreateJobRequest> FakeServer::created() {
  absl::MutexLock lock(&mutex_);
  return created_;
}

grpc::Status FakeServer::ListModels(grpc::ServerContext* context,
                                    const v1::ListModelsRequest* request,
                                    v1::ListModelsResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  // One model a page, so that every list is a test of paging.
  auto it = request->page_token().empty() ? models_.begin()
                                          : models_.find(request->page_token());
  if (it == models_.end()) return grpc::Status::OK;
  *response->add_models() = it->second;
  if (++it != models_.end()) response->set_next_page_token(it->first);
  return grpc::Status::OK;
}

grpc::Status FakeServer::GetModel(grpc::ServerContext* context,
                                  const v1::GetModelRequest* request,
                                  v1::GetModelResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  const auto found = models_.find(request->name());
  if (found == models_.end()) return NotFound(request->name());
  *response->mutable_model() = found->second;
  return grpc::Status::OK;
}

grpc::Status FakeServer::LoadModel(grpc::ServerContext* context,
                                   const v1::LoadModelRequest* request,
                                   v1::LoadModelResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  log_.Add(*request);
  response->mutable_model()->set_name(request->name());
  response->mutable_model()->set_path(request->path());
  return grpc::Status::OK;
}

grpc::Status FakeServer::ListAdapters(grpc::ServerContext* context,
                                      const v1::ListAdaptersRequest* request,
                                      v1::ListAdaptersResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, adapter] : adapters_) {
    if (name.rfind(request->parent() + "/", 0) == 0) {
      *response->add_adapters() = adapter;
    }
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::GetAdapter(grpc::ServerContext* context,
                                    const v1::GetAdapterRequest* request,
                                    v1::GetAdapterResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  const auto found = adapters_.find(request->name());
  if (found == adapters_.end()) return NotFound(request->name());
  *response->mutable_adapter() = found->second;
  return grpc::Status::OK;
}

grpc::Status FakeServer::UpdateModel(grpc::ServerContext* context,
                                     const v1::UpdateModelRequest* request,
                                     v1::UpdateModelResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  const auto found = models_.find(request->name());
  if (found == models_.end()) return NotFound(request->name());
  found->second.set_visibility(request->visibility());
  *response->mutable_model() = found->second;
  return grpc::Status::OK;
}

grpc::Status FakeServer::RegisterAdapter(
    grpc::ServerContext* context, const v1::RegisterAdapterRequest* request,
    v1::RegisterAdapterResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  log_.Add(*request);
  v1::Adapter& adapter = *response->mutable_adapter();
  adapter.set_name(request->name());
  adapter.set_path(request->path());
  if (request->has_artifacts()) {
    *adapter.mutable_artifacts() = request->artifacts();
  }
  adapter.set_visibility(request->visibility());
  return grpc::Status::OK;
}

grpc::Status FakeServer::UpdateAdapter(grpc::ServerContext* context,
                                       const v1::UpdateAdapterRequest* request,
                                       v1::UpdateAdapterResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  const auto found = adapters_.find(request->name());
  if (found == adapters_.end()) return NotFound(request->name());
  found->second.set_visibility(request->visibility());
  *response->mutable_adapter() = found->second;
  return grpc::Status::OK;
}

grpc::Status FakeServer::SelfCheck(grpc::ServerContext* context,
                                   const v1::SelfCheckRequest*,
                                   v1::SelfCheckResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  response->mutable_invariants()->Add(invariants_.begin(), invariants_.end());
  return grpc::Status::OK;
}

grpc::Status FakeServer::CreateJob(grpc::ServerContext* context,
                                   const v1::CreateJobRequest* request,
                                   v1::CreateJobResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  created_.push_back(*request);
  for (const auto& [name, known] : jobs_) {
    if (known.request_id() != request->request_id()) continue;
    *response->mutable_job() = known;
    return grpc::Status::OK;
  }
  v1::Job job;
  job.set_name(absl::StrCat("jobs/J", created_.size()));
  *job.mutable_spec() = request->spec();
  job.set_state(v1::JOB_STATE_SUCCEEDED);
  job.set_request_id(request->request_id());
  for (const auto& [file_name, artifact] : outputs_) {
    v1::JobOutput& output = *job.add_outputs();
    output.set_file_name(file_name);
    output.set_artifact(artifact);
  }
  jobs_[job.name()] = job;
  *response->mutable_job() = job;
  response->mutable_job()->set_state(v1::JOB_STATE_QUEUED);
  return grpc::Status::OK;
}

grpc::Status FakeServer::GetJob(grpc::ServerContext* context,
                                const v1::GetJobRequest* request,
                                v1::GetJobResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  const auto found = jobs_.find(request->name());
  if (found == jobs_.end()) return NotFound(request->name());
  *response->mutable_job() = found->second;
  return grpc::Status::OK;
}

grpc::Status FakeServer::ListJobs(grpc::ServerContext* context,
                                  const v1::ListJobsRequest* request,
                                  v1::ListJobsResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  log_.Add(*request);
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, job] : jobs_) {
    if (request->state() == v1::JOB_STATE_UNSPECIFIED ||
        request->state() == job.state()) {
      *response->add_jobs() = job;
    }
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::CancelJob(grpc::ServerContext* context,
                                   const v1::CancelJobRequest* request,
                                   v1::CancelJobResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  cancelled_jobs_.push_back(request->name());
  *response->mutable_job() = jobs_[request->name()];
  response->mutable_job()->set_state(v1::JOB_STATE_CANCELLING);
  return grpc::Status::OK;
}

grpc::Status FakeServer::PauseJob(grpc::ServerContext* context,
                                  const v1::PauseJobRequest* request,
                                  v1::PauseJobResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  log_.Add(*request);
  absl::MutexLock lock(&mutex_);
  v1::Job& job = jobs_[request->name()];
  *response->mutable_job() = job;
  response->mutable_job()->set_state(v1::JOB_STATE_PAUSING);
  // When it is asked for next.
  job.set_state(v1::JOB_STATE_PAUSED);
  return grpc::Status::OK;
}

grpc::Status FakeServer::ResumeJob(grpc::ServerContext* context,
                                   const v1::ResumeJobRequest* request,
                                   v1::ResumeJobResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  log_.Add(*request);
  absl::MutexLock lock(&mutex_);
  *response->mutable_job() = jobs_[request->name()];
  response->mutable_job()->set_state(v1::JOB_STATE_QUEUED);
  return grpc::Status::OK;
}

grpc::Status FakeServer::Send(
    const WatchStream& stream, const v1::Job& job,
    grpc::ServerWriter<v1::WatchJobResponse>& writer) {
  for (const v1::JobEvent& event : stream.events) {
    v1::WatchJobResponse response;
    *response.mutable_event() = event;
    writer.Write(response);
  }
  if (stream.hang) stopping_.WaitForNotification();
  if (stream.complete) {
    v1::WatchJobResponse response;
    *response.mutable_job() = job;
    writer.Write(response);
  }
  return stream.end;
}

grpc::Status FakeServer::WatchJob(
    grpc::ServerContext* context, const v1::WatchJobRequest* request,
    grpc::ServerWriter<v1::WatchJobResponse>* writer) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  WatchStream stream;
  stream.complete = true;
  v1::Job job;
  {
    absl::MutexLock lock(&mutex_);
    watch_cursors_.push_back(request->after_event_number());
    const auto found = jobs_.find(request->name());
    if (found == jobs_.end()) return NotFound(request->name());
    job = found->second;
    if (!streams_.empty()) stream = streams_.front();
    if (streams_.size() > 1) streams_.pop_front();
  }
  return Send(stream, job, *writer);
}

grpc::Status FakeServer::ReplayJob(grpc::ServerContext* context,
                                   const v1::ReplayJobRequest* request,
                                   v1::ReplayJobResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  log_.Add(*request);
  absl::MutexLock lock(&mutex_);
  const auto found = jobs_.find(request->name());
  if (found == jobs_.end()) return NotFound(request->name());
  v1::Job job = found->second;
  job.set_name("jobs/R1");
  job.set_replay_of(request->name());
  jobs_[job.name()] = job;
  job.set_state(v1::JOB_STATE_QUEUED);
  *response->mutable_job() = job;
  return grpc::Status::OK;
}

grpc::Status FakeServer::CompareJobs(grpc::ServerContext* context,
                                     const v1::CompareJobsRequest* request,
                                     v1::CompareJobsResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  log_.Add(*request);
  absl::MutexLock lock(&mutex_);
  *response = comparison_;
  return grpc::Status::OK;
}

}  // namespace dissonance
