#include "tests/client/fake_server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "src/base/sha256.h"

namespace dissonance {
namespace {

// Small, so that every read is a test of putting pieces together.
constexpr size_t kPieceBytes = 16;

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
          stopping_) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(absl::StrCat("unix:", socket_path),
                           grpc::InsecureServerCredentials());
  builder.RegisterService(static_cast<v1::Models::Service*>(this));
  builder.RegisterService(&inference_);
  builder.RegisterService(&interpretability_);
  builder.RegisterService(static_cast<v1::Jobs::Service*>(this));
  builder.RegisterService(static_cast<v1::Artifacts::Service*>(this));
  builder.RegisterService(static_cast<v1::Admin::Service*>(this));
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
  const std::string expected = absl::StrCat("Bearer ", token_);
  if (found == metadata.end() ||
      std::string(found->second.data(), found->second.size()) != expected) {
    return {grpc::StatusCode::UNAUTHENTICATED, "the token is not known"};
  }
  absl::MutexLock lock(&mutex_);
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
}

void FakeServer::AddJob(const v1::Job& job) {
  absl::MutexLock lock(&mutex_);
  jobs_[job.name()] = job;
}

std::string FakeServer::AddArtifact(const std::string& contents) {
  absl::MutexLock lock(&mutex_);
  const std::string name = absl::StrCat("artifacts/", Sha256Of(contents));
  artifacts_[name] = contents;
  return name;
}

void FakeServer::Damage(const std::string& name, const std::string& contents) {
  absl::MutexLock lock(&mutex_);
  artifacts_[name] = contents;
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
    const std::string artifact = AddArtifact(contents);
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

v1::LoadModelRequest FakeServer::last_load() {
  absl::MutexLock lock(&mutex_);
  return last_load_;
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
  absl::MutexLock lock(&mutex_);
  last_load_ = *request;
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

grpc::Status FakeServer::ListArtifacts(grpc::ServerContext* context,
                                       const v1::ListArtifactsRequest*,
                                       v1::ListArtifactsResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, contents] : artifacts_) {
    v1::Artifact& artifact = *response->add_artifacts();
    artifact.set_name(name);
    artifact.set_size_bytes(static_cast<int64_t>(contents.size()));
    artifact.set_media_type("text/plain");
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::ReadArtifact(
    grpc::ServerContext* context, const v1::ReadArtifactRequest* request,
    grpc::ServerWriter<v1::ReadArtifactResponse>* writer) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  std::string contents;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = artifacts_.find(request->name());
    if (found == artifacts_.end()) return NotFound(request->name());
    contents = found->second;
  }
  for (size_t at = request->offset_bytes(); at < contents.size();
       at += kPieceBytes) {
    v1::ReadArtifactResponse response;
    response.set_offset_bytes(static_cast<int64_t>(at));
    response.set_data(contents.substr(at, kPieceBytes));
    writer->Write(response);
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::ServerInfo(grpc::ServerContext* context,
                                    const v1::ServerInfoRequest*,
                                    v1::ServerInfoResponse* response) {
  if (grpc::Status status = Check(*context); !status.ok()) return status;
  response->set_version("0.1.0");
  response->set_data_dir("/data");
  response->add_addresses("127.0.0.1:7433");
  v1::Worker& worker = *response->add_workers();
  worker.set_name("workers/local");
  worker.set_state(v1::WORKER_STATE_READY);
  worker.set_pid(42);
  worker.set_device("cpu");
  return grpc::Status::OK;
}

}  // namespace dissonance
