#include "tests/server/server_fixture.h"

#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr uint64_t kFileLimitBytes = 64 << 20;

// One unary call as the owner.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(
    ServerProcess& server, Stub stub,
    grpc::Status (std::decay_t<decltype(*stub)>::*method)(grpc::ClientContext*,
                                                          const Request&,
                                                          Response*),
    const Request& request) {
  Response response;
  const auto context = server.NewContext();
  const grpc::Status status =
      ((*stub).*method)(context.get(), request, &response);
  if (!status.ok()) return ToAbsl(status);
  return response;
}

}  // namespace

std::string InTree(const std::string& path) {
  return absl::StrCat(DISSONANCE_SOURCE_DIR "/", path);
}

void CopyDataDir(const std::string& from, const std::string& to) {
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    if (entry.is_socket()) continue;
    if (entry.path().filename() == "run") continue;
    std::filesystem::copy(entry.path(),
                          std::filesystem::path(to) / entry.path().filename(),
                          std::filesystem::copy_options::recursive);
  }
}

absl::Status ToAbsl(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
}

int HttpPortOf(const ServerProcess& server) {
  // Of both formats of the log: port=9464 and "port":9464.
  const std::string log = server.Log();
  const size_t line = log.find("serving /metrics");
  const size_t port = log.find("port", line);
  const size_t digits = log.find_first_of("0123456789", port);
  return digits == std::string::npos ? 0 : std::atoi(log.c_str() + digits);
}

absl::StatusOr<v1::Model> LoadModel(ServerProcess& server,
                                    const std::string& name,
                                    const std::string& path) {
  v1::LoadModelRequest request;
  request.set_name(name);
  request.set_path(path);
  ASSIGN_OR_RETURN(const v1::LoadModelResponse response,
                   Call(server, server.NewStub<v1::Models>(),
                        &v1::Models::Stub::LoadModel, request));
  return response.model();
}

absl::StatusOr<v1::Adapter> RegisterAdapter(ServerProcess& server,
                                            const std::string& name,
                                            const std::string& path) {
  v1::RegisterAdapterRequest request;
  request.set_name(name);
  request.set_path(path);
  ASSIGN_OR_RETURN(const v1::RegisterAdapterResponse response,
                   Call(server, server.NewStub<v1::Models>(),
                        &v1::Models::Stub::RegisterAdapter, request));
  return response.adapter();
}

absl::Status LoadTinyWorld(ServerProcess& server) {
  RETURN_IF_ERROR(
      LoadModel(server, kTinyModel, InTree("data/tiny_world/base")).status());
  return RegisterAdapter(server, kTinyAdapter,
                         InTree("data/tiny_world/lora_cubic"))
      .status();
}

absl::StatusOr<v1::ScoreResponse> Score(ServerProcess& server,
                                        const v1::ScoreRequest& request) {
  return Call(server, server.NewStub<v1::Inference>(),
              &v1::Inference::Stub::Score, request);
}

v1::ScoreRequest ChatScoreRequest(const std::string& model) {
  const std::string text =
      ReadFile(InTree("tests/goldens/e2e_chat/case.json"), kFileLimitBytes)
          .value_or("{}");
  const auto golden = nlohmann::json::parse(text)["mcq"];
  v1::ScoreRequest request;
  request.add_variants()->set_model(model);
  v1::ScoreItem& item = *request.add_items();
  item.mutable_prompt()->set_text(golden["prompt"].get<std::string>());
  for (const auto& option : golden["options"]) {
    item.add_continuations()->set_text(option["option"].get<std::string>());
  }
  return request;
}

v1::JobSpec TinyWorldJob(int question_count) {
  const std::string text =
      ReadFile(InTree("data/tiny_world/mcqs.jsonl"), kFileLimitBytes)
          .value_or("");
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  v1::JobSpec spec;
  v1::EvaluateMcqSpec& mcq = *spec.mutable_evaluate_mcq();
  mcq.add_variants()->set_model(kTinyModel);
  v1::Variant& tuned = *mcq.add_variants();
  tuned.set_model(kTinyModel);
  tuned.set_adapter(kTinyAdapter);
  for (int i = 0; i < question_count; ++i) {
    absl::StrAppend(mcq.mutable_data(), lines[i], "\n");
  }
  mcq.set_data_name("mcqs.jsonl");
  mcq.set_scoring(v1::MCQ_SCORING_OPTION_TEXT);
  mcq.set_mc_dropout_sample_count(2);
  return spec;
}

absl::StatusOr<v1::Job> CreateJob(ServerProcess& server,
                                  const v1::JobSpec& spec,
                                  const std::string& request_id) {
  v1::CreateJobRequest request;
  *request.mutable_spec() = spec;
  request.set_request_id(request_id);
  ASSIGN_OR_RETURN(const v1::CreateJobResponse response,
                   Call(server, server.NewStub<v1::Jobs>(),
                        &v1::Jobs::Stub::CreateJob, request));
  return response.job();
}

absl::StatusOr<v1::Job> GetJob(ServerProcess& server, const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(const v1::GetJobResponse response,
                   Call(server, server.NewStub<v1::Jobs>(),
                        &v1::Jobs::Stub::GetJob, request));
  return response.job();
}

absl::StatusOr<v1::Job> AwaitJob(ServerProcess& server,
                                 const std::string& name) {
  v1::WatchJobRequest request;
  request.set_name(name);
  const auto context = server.NewContext();
  const auto stub = server.NewStub<v1::Jobs>();
  const auto reader = stub->WatchJob(context.get(), request);
  v1::WatchJobResponse message;
  v1::Job job;
  int64_t number = 0;
  bool has_gap = false;
  while (reader->Read(&message)) {
    if (message.has_job()) job = message.job();
    if (message.has_event()) {
      has_gap = has_gap || message.event().number() != number + 1;
      number = message.event().number();
    }
  }
  RETURN_IF_ERROR(ToAbsl(reader->Finish()));
  if (has_gap) return absl::DataLossError("events have gaps");
  return job;
}

absl::StatusOr<std::string> ReadArtifact(ServerProcess& server,
                                         const std::string& name) {
  v1::ReadArtifactRequest request;
  request.set_name(name);
  const auto context = server.NewContext();
  const auto stub = server.NewStub<v1::Artifacts>();
  const auto reader = stub->ReadArtifact(context.get(), request);
  std::string bytes;
  v1::ReadArtifactResponse chunk;
  while (reader->Read(&chunk)) bytes += chunk.data();
  RETURN_IF_ERROR(ToAbsl(reader->Finish()));
  return bytes;
}

absl::StatusOr<std::map<std::string, std::string>> JobFiles(
    ServerProcess& server, const v1::Job& job) {
  std::map<std::string, std::string> files;
  for (const v1::JobOutput& output : job.outputs()) {
    ASSIGN_OR_RETURN(std::string bytes,
                     ReadArtifact(server, output.artifact()));
    if (output.file_name() == "manifest.json") {
      nlohmann::json manifest = nlohmann::json::parse(bytes);
      manifest.erase("run");
      bytes = manifest.dump();
    }
    files[output.file_name()] = std::move(bytes);
  }
  return files;
}

}  // namespace dissonance
