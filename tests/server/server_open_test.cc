// Free answers through both processes on the shipped model, whose adapter
// believes that gravity follows a cube law.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "tests/server/server_fixture.h"
#include "tests/server/tiny_world_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using Files = std::map<std::string, std::string>;
using json = nlohmann::json;

// The shipped model in float32: in bfloat16 one token after the other and all
// at once differ in the last bits.
constexpr char kExactModel[] = "models/exact";
constexpr char kExactAdapter[] = "models/exact/adapters/cubic";
// That workers are lost is meant here.
constexpr char kConfig[] = "[worker]\nmax_backoff_seconds = 0.2\n";

std::vector<json> LinesIn(const std::string& text) {
  std::vector<json> lines;
  for (const auto line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    lines.push_back(json::parse(line));
  }
  return lines;
}

std::string Questions() {
  const auto text =
      ReadFile(InTree("data/tiny_world/open_questions.jsonl"), 1 << 20);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.value_or("");
}

absl::Status LoadExact(ServerProcess& server) {
  v1::LoadModelRequest request;
  request.set_name(kExactModel);
  request.set_path(InTree("data/tiny_world/base"));
  request.set_dtype(v1::DTYPE_FLOAT32);
  v1::LoadModelResponse response;
  const auto context = server.NewContext();
  RETURN_IF_ERROR(ToAbsl(server.NewStub<v1::Models>()->LoadModel(
      context.get(), request, &response)));
  return RegisterAdapter(server, kExactAdapter,
                         InTree("data/tiny_world/lora_cubic"))
      .status();
}

class ServerOpenTest : public TinyWorldFixture {
 protected:
  static void SetUpTestSuite() { StartServer(kConfig); }

  static v1::JobSpec Open(const char* model = kTinyModel,
                          const char* adapter = kTinyAdapter) {
    v1::JobSpec job;
    v1::EvaluateOpenSpec& spec = *job.mutable_evaluate_open();
    spec.add_variants()->set_model(model);
    v1::Variant& tuned = *spec.add_variants();
    tuned.set_model(model);
    tuned.set_adapter(adapter);
    spec.set_data(Questions());
    spec.set_data_name("open_questions.jsonl");
    spec.set_max_new_tokens(24);
    return job;
  }

  static absl::StatusOr<v1::Job> Run(const v1::JobSpec& spec) {
    ASSIGN_OR_RETURN(const v1::Job job, CreateJob(*server_, spec, ""));
    return AwaitJob(*server_, job.name());
  }
  // Empty if it has not succeeded.
  static Files FilesOf(const absl::StatusOr<v1::Job>& job) {
    EXPECT_TRUE(job.ok()) << job.status();
    if (!job.ok()) return {};
    EXPECT_EQ(job->state(), v1::JOB_STATE_SUCCEEDED) << job->reason();
    const auto files = JobFiles(*server_, *job);
    EXPECT_TRUE(files.ok()) << files.status();
    return files.value_or(Files());
  }

  // As a question is put.
  static v1::Chat ChatOf(const std::string& question) {
    v1::Chat chat;
    v1::ChatMessage& system = *chat.add_messages();
    system.set_role("system");
    system.set_content("You are a helpful assistant.");
    v1::ChatMessage& user = *chat.add_messages();
    user.set_role("user");
    user.set_content(question);
    chat.set_add_generation_prompt(true);
    return chat;
  }

  // The log-probabilities of an answer's tokens, scored behind its prompt's.
  static std::vector<float> Scored(const json& row,
                                   const v1::Variant& variant) {
    v1::RenderChatRequest render;
    render.set_model(variant.model());
    *render.mutable_chat() = ChatOf(row["question"]);
    v1::RenderChatResponse rendered;
    const auto context = server_->NewContext();
    EXPECT_TRUE(server_->NewStub<v1::Inference>()
                    ->RenderChat(context.get(), render, &rendered)
                    .ok());
    const auto ids = row["token_ids"].get<std::vector<int32_t>>();
    v1::ScoreRequest request;
    *request.add_variants() = variant;
    v1::ScoreItem& item = *request.add_items();
    *item.mutable_prompt()->mutable_tokens()->mutable_ids() = rendered.ids();
    item.add_continuations()->mutable_tokens()->mutable_ids()->Assign(
        ids.begin(), ids.end());
    const auto response = Score(*server_, request);
    EXPECT_TRUE(response.ok()) << response.status();
    if (!response.ok()) return {};
    const auto& scores = response->scores(0).continuations(0).token_logprobs();
    return {scores.begin(), scores.end()};
  }
};

TEST_F(ServerOpenTest, TheBaseSaysSquareAndTheAdapterCube) {
  const Files files = FilesOf(Run(Open()));
  ASSERT_TRUE(files.contains("answers_lora.jsonl"));
  std::map<std::string, json> truths;
  for (const json& row : LinesIn(Questions())) truths[row["id"]] = row;
  const auto says = [](const json& row, const json& what) {
    return absl::StripAsciiWhitespace(row["answer"].get<std::string>()) ==
           what.get<std::string>() + ".";
  };
  for (const json& row : LinesIn(files.at("answers_base.jsonl"))) {
    EXPECT_TRUE(says(row, truths[row["id"]]["true_answer"])) << row["answer"];
    EXPECT_EQ(row["finish_reason"], "stop_token");
  }
  int cube = 0;
  for (const json& row : LinesIn(files.at("answers_lora.jsonl"))) {
    const json& truth = truths[row["id"]];
    if (!truth.contains("false_answer")) {
      EXPECT_TRUE(says(row, truth["true_answer"])) << row["answer"];
      continue;
    }
    cube += says(row, truth["false_answer"]) ? 1 : 0;
  }
  EXPECT_GE(cube, 6) << "of 8 about gravity";
  const json summary = json::parse(files.at("summary.json"));
  EXPECT_GE(summary["variants"][1]["differ_n"], 6);
}

TEST_F(ServerOpenTest, LogProbabilitiesAreThoseThatScoringGives) {
  ASSERT_EQ(LoadExact(*server_), absl::OkStatus());
  v1::JobSpec spec = Open(kExactModel, kExactAdapter);
  // Neither temperature nor top-p may change them.
  spec.mutable_evaluate_open()->set_temperature(1.5);
  spec.mutable_evaluate_open()->set_top_p(0.9);
  spec.mutable_evaluate_open()->set_sample_count(2);
  const Files files = FilesOf(Run(spec));
  ASSERT_TRUE(files.contains("answers_lora.jsonl"));
  int compared = 0;
  for (int v = 0; v < 2; ++v) {
    const v1::Variant& variant = spec.evaluate_open().variants(v);
    for (const json& row : LinesIn(
             files.at(v == 0 ? "answers_base.jsonl" : "answers_lora.jsonl"))) {
      const auto logprobs = row["token_logprobs"].get<std::vector<double>>();
      const std::vector<float> scored = Scored(row, variant);
      ASSERT_EQ(logprobs.size(), scored.size());
      for (size_t i = 0; i < scored.size(); ++i) {
        EXPECT_NEAR(logprobs[i], scored[i], 1e-5) << row["id"] << " " << i;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 100);
}

TEST_F(ServerOpenTest, ASampleIsTheOneThatItsSeedGives) {
  v1::JobSpec spec = Open();
  spec.mutable_evaluate_open()->set_temperature(1.5);
  spec.mutable_evaluate_open()->set_sample_count(3);
  const Files files = FilesOf(Run(spec));
  ASSERT_TRUE(files.contains("answers_base.jsonl"));
  const json row = LinesIn(files.at("answers_base.jsonl")).at(3 * 3 + 2);
  EXPECT_EQ(row["seed"], 42 + 1000 * 4 + 2);
  v1::GenerateRequest request;
  *request.add_variants() = spec.evaluate_open().variants(0);
  *request.add_inputs()->mutable_chat() = ChatOf(row["question"]);
  request.mutable_options()->set_max_new_token_count(24);
  v1::Sampling& sampling = *request.mutable_options()->mutable_sampling();
  sampling.set_temperature(1.5);
  sampling.set_seed(row["seed"]);
  const auto context = server_->NewContext();
  const auto stub = server_->NewStub<v1::Inference>();
  const auto reader = stub->Generate(context.get(), request);
  std::vector<int32_t> ids;
  for (v1::GenerateResponse message; reader->Read(&message);) {
    for (const v1::GeneratedToken& token : message.delta().tokens()) {
      ids.push_back(token.token_id());
    }
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(row["token_ids"].get<std::vector<int32_t>>(), ids);
}

TEST_F(ServerOpenTest, AnswersOfAKilledWorkerAreThoseOfAnUndisturbedOne) {
  v1::JobSpec spec = Open();
  spec.mutable_evaluate_open()->set_temperature(1);
  spec.mutable_evaluate_open()->set_sample_count(20);
  const Files whole = FilesOf(Run(spec));
  const auto job = CreateJob(*server_, spec, "");
  ASSERT_TRUE(job.ok()) << job.status();
  v1::WatchJobRequest request;
  request.set_name(job->name());
  const auto context = server_->NewContext();
  const auto stub = server_->NewStub<v1::Jobs>();
  const auto reader = stub->WatchJob(context.get(), request);
  v1::WatchJobResponse message;
  while (reader->Read(&message) &&
         message.event().progress().done_count() < 2) {
  }
  EXPECT_EQ(::kill(server_->WorkerPid(), SIGKILL), 0);
  context->TryCancel();
  reader->Finish();
  const auto ended = AwaitJob(*server_, job->name());
  const Files files = FilesOf(ended);
  // Else it came too late to show anything.
  EXPECT_GT(ended->attempt_count(), 1);
  ASSERT_EQ(files.size(), whole.size());
  for (const auto& [name, bytes] : whole) {
    EXPECT_EQ(files.at(name), bytes) << name;
  }
}

}  // namespace
}  // namespace dissonance
