// Calls that change what is stored: adapters, jobs and their files.
#include <string>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "src/base/status_macros.h"
#include "tests/endurance/job_checks.h"
#include "tests/endurance/job_mix.h"
#include "tests/endurance/soak_calls.h"
#include "tests/server/server_fixture.h"

namespace dissonance {
namespace {

// Different jobs, each made many times.
constexpr int kJobCount = 6;

v1::ScoreRequest OneToken(const std::string& adapter) {
  v1::ScoreRequest request;
  v1::Variant& variant = *request.add_variants();
  variant.set_model(kTinyModel);
  variant.set_adapter(adapter);
  v1::ScoreItem& item = *request.add_items();
  *item.mutable_prompt() = PromptOf(3);
  item.add_continuations()->mutable_tokens()->add_ids(20);
  return request;
}

// That an adapter which is gone is NOT_FOUND.
absl::Status ExpectGone(const SoakCall& call, const std::string& adapter) {
  const absl::Status status =
      call.client.Call(&v1::Inference::Stub::Score, OneToken(adapter)).status();
  if (absl::IsNotFound(status)) return absl::OkStatus();
  if (absl::IsUnavailable(status)) return status;
  return absl::InternalError(
      absl::StrCat("an adapter that is gone answers ", status.ToString()));
}

absl::Status CompareAdapter(const SoakCall& call, const std::string& adapter) {
  ASSIGN_OR_RETURN(
      const v1::ScoreResponse response,
      call.client.Call(&v1::Inference::Stub::Score, OneToken(adapter)));
  return call.ledger.Compare("Score by a churning adapter",
                             response.scores(0).SerializeAsString());
}

// Registers an adapter of the client's own, unloads, loads and deletes it.
absl::Status ChurnAdapter(const SoakCall& call) {
  const std::string name =
      absl::StrCat(kTinyModel, "/adapters/churn-", call.client_index);
  v1::RegisterAdapterRequest add;
  add.set_name(name);
  add.set_path(InTree("data/tiny_world/lora_cubic"));
  RETURN_IF_ERROR(
      call.client.Call(&v1::Models::Stub::RegisterAdapter, add).status());
  RETURN_IF_ERROR(CompareAdapter(call, name));
  v1::UnloadAdapterRequest unload;
  unload.set_name(name);
  RETURN_IF_ERROR(
      call.client.Call(&v1::Models::Stub::UnloadAdapter, unload).status());
  RETURN_IF_ERROR(ExpectGone(call, name));
  v1::LoadAdapterRequest load;
  load.set_name(name);
  RETURN_IF_ERROR(
      call.client.Call(&v1::Models::Stub::LoadAdapter, load).status());
  RETURN_IF_ERROR(CompareAdapter(call, name));
  v1::DeleteAdapterRequest remove;
  remove.set_name(name);
  RETURN_IF_ERROR(
      call.client.Call(&v1::Models::Stub::DeleteAdapter, remove).status());
  return ExpectGone(call, name);
}

constexpr CallKind kAdapterChurn = {"adapter churn", ChurnAdapter, 2};

absl::StatusOr<v1::Job> Create(const SoakCall& call, int number) {
  v1::CreateJobRequest request;
  *request.mutable_spec() = QuestionsJob(/*first=*/number * 9, /*count=*/6);
  v1::EvaluateMcqSpec& mcq = *request.mutable_spec()->mutable_evaluate_mcq();
  *mcq.add_variants() = VariantOf(0);
  *mcq.add_variants() = VariantOf(1 + number % 2);
  mcq.set_scoring(static_cast<v1::McqScoring>(1 + number));
  ASSIGN_OR_RETURN(const v1::CreateJobResponse response,
                   call.client.Call(&v1::Jobs::Stub::CreateJob, request));
  return response.job();
}

absl::Status Delete(const SoakCall& call, const std::string& name) {
  v1::DeleteJobRequest request;
  request.set_name(name);
  return call.client.Call(&v1::Jobs::Stub::DeleteJob, request).status();
}

absl::Status RunJob(const SoakCall& call) {
  const int number = Draw(call, kJobCount);
  ASSIGN_OR_RETURN(const v1::Job job, Create(call, number));
  SeenEvents seen;
  ASSIGN_OR_RETURN(const v1::Job ended,
                   WatchJob(call.client, job.name(), seen));
  if (ended.state() != v1::JOB_STATE_SUCCEEDED) {
    return absl::InternalError(
        absl::StrCat(v1::JobState_Name(ended.state()), ": ", ended.reason()));
  }
  ASSIGN_OR_RETURN(const auto digests, OutputDigests(call.client, ended));
  std::string reply;
  for (const auto& [file, digest] : digests) {
    absl::StrAppend(&reply, file, " ", digest, "\n");
  }
  RETURN_IF_ERROR(call.ledger.Compare(absl::StrCat("job ", number), reply));
  return Delete(call, job.name());
}

absl::Status CancelJob(const SoakCall& call) {
  ASSIGN_OR_RETURN(const v1::Job job, Create(call, Draw(call, kJobCount)));
  SeenEvents seen;
  RETURN_IF_ERROR(WatchJob(call.client, job.name(), seen,
                           /*most=*/static_cast<size_t>(1 + Draw(call, 4)))
                      .status());
  v1::CancelJobRequest request;
  request.set_name(job.name());
  const absl::Status status =
      call.client.Call(&v1::Jobs::Stub::CancelJob, request).status();
  if (!status.ok() && !absl::IsFailedPrecondition(status)) return status;
  RETURN_IF_ERROR(WatchJob(call.client, job.name(), seen).status());
  return Delete(call, job.name());
}

absl::Status ListJobs(const SoakCall& call) {
  v1::ListJobsRequest request;
  request.set_page_size(20);
  if (Draw(call, 2) == 1) request.set_state(v1::JOB_STATE_SUCCEEDED);
  return call.client.Call(&v1::Jobs::Stub::ListJobs, request).status();
}

absl::Status ReadAnArtifact(const SoakCall& call) {
  v1::ListArtifactsRequest list;
  list.set_page_size(20);
  ASSIGN_OR_RETURN(const v1::ListArtifactsResponse page,
                   call.client.Call(&v1::Artifacts::Stub::ListArtifacts, list));
  if (page.artifacts().empty()) return absl::OkStatus();
  const v1::Artifact& artifact =
      page.artifacts(Draw(call, page.artifacts_size()));
  v1::ReadArtifactRequest request;
  request.set_name(artifact.name());
  std::string bytes;
  RETURN_IF_ERROR(
      call.client.Read(&v1::Artifacts::Stub::ReadArtifact, request,
                       [&bytes](const v1::ReadArtifactResponse& chunk) {
                         bytes += chunk.data();
                         return true;
                       }));
  if (static_cast<int64_t>(bytes.size()) == artifact.size_bytes()) {
    return absl::OkStatus();
  }
  return absl::DataLossError(artifact.name() + " has another size");
}

}  // namespace

std::vector<CallKind> RepeatableCallKinds() {
  std::vector<CallKind> kinds = ComputeCallKinds();
  kinds.push_back(kAdapterChurn);
  return kinds;
}

std::vector<CallKind> RecordCallKinds() {
  return {kAdapterChurn,
          {"job, watched and deleted", RunJob, 3},
          {"job, cancelled and deleted", CancelJob, 2},
          {"ListJobs", ListJobs, 4},
          {"ReadArtifact", ReadAnArtifact, 4}};
}

}  // namespace dissonance
