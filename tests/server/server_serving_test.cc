// The public API through both processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/interpretability.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

// One server for all tests of this file: they change nothing that another one
// looks at.
class ServingTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    server_ = new ServerProcess({.data_dir = folder_->path()});
    ASSERT_TRUE(server_->AwaitServing());
    ASSERT_TRUE(
        LoadModel(*server_, kChatModel, InTree("tests/goldens/e2e_chat/model"))
            .ok());
    ASSERT_TRUE(LoadModel(*server_, "models/llama",
                          InTree("tests/goldens/models/llama/model"))
                    .ok());
    golden_ = nlohmann::json::parse(
        *ReadFile(InTree("tests/goldens/e2e_chat/case.json"), 1 << 24));
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(server_->Stop(), 0);
    delete server_;
    delete folder_;
  }

  static TempFolder* folder_;
  static ServerProcess* server_;
  static nlohmann::json golden_;
};
TempFolder* ServingTest::folder_ = nullptr;
ServerProcess* ServingTest::server_ = nullptr;
nlohmann::json ServingTest::golden_;

TEST_F(ServingTest, TokenizesAndDetokenizes) {
  const auto stub = server_->NewStub<v1::Inference>();
  v1::TokenizeRequest request;
  request.set_model(kChatModel);
  request.set_text(golden_["mcq"]["prompt"].get<std::string>());
  v1::TokenizeResponse response;
  auto context = server_->NewContext();
  ASSERT_TRUE(stub->Tokenize(context.get(), request, &response).ok());
  EXPECT_THAT(response.ids(),
              ElementsAreArray(golden_["mcq"]["prompt_ids_with_special"]
                                   .get<std::vector<int32_t>>()));
  EXPECT_EQ(response.pieces_size(), response.ids_size());

  v1::DetokenizeRequest back;
  back.set_model(kChatModel);
  *back.mutable_ids() = response.ids();
  back.set_skip_special_tokens(true);
  v1::DetokenizeResponse text;
  context = server_->NewContext();
  ASSERT_TRUE(stub->Detokenize(context.get(), back, &text).ok());
  EXPECT_EQ(text.text(), request.text());
}

TEST_F(ServingTest, RendersConversations) {
  const auto stub = server_->NewStub<v1::Inference>();
  for (const auto& conversation : golden_["conversations"]) {
    v1::RenderChatRequest request;
    request.set_model(kChatModel);
    for (const auto& message : conversation["messages"]) {
      v1::ChatMessage& out = *request.mutable_chat()->add_messages();
      out.set_role(message["role"].get<std::string>());
      out.set_content(message["content"].get<std::string>());
    }
    request.mutable_chat()->set_add_generation_prompt(true);
    request.mutable_chat()->set_template_kwargs_json(
        conversation["kwargs"].dump());
    v1::RenderChatResponse response;
    const auto context = server_->NewContext();
    const grpc::Status status =
        stub->RenderChat(context.get(), request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    if (!conversation["kwargs"].empty()) {
      EXPECT_EQ(response.text(), conversation["text"].get<std::string>());
      EXPECT_THAT(
          response.ids(),
          ElementsAreArray(conversation["ids"].get<std::vector<int32_t>>()));
    }
  }
}

TEST_F(ServingTest, ScoresTheGoldenContinuations) {
  const absl::StatusOr<v1::ScoreResponse> response =
      Score(*server_, ChatScoreRequest(kChatModel));
  ASSERT_TRUE(response.ok()) << response.status();
  ASSERT_EQ(response->scores_size(), 1);
  const v1::ItemScore& score = response->scores(0);
  EXPECT_EQ(score.prompt_token_count(),
            static_cast<int>(golden_["mcq"]["prompt_ids_with_special"].size()));
  const auto& options = golden_["mcq"]["options"];
  ASSERT_EQ(score.continuations_size(), static_cast<int>(options.size()));
  for (int i = 0; i < score.continuations_size(); ++i) {
    const v1::ContinuationScore& found = score.continuations(i);
    EXPECT_THAT(found.token_ids(),
                ElementsAreArray(options[i]["ids"].get<std::vector<int>>()));
    for (int t = 0; t < found.token_logprobs_size(); ++t) {
      EXPECT_NEAR(found.token_logprobs(t), options[i]["logprobs"][t], 2e-4);
    }
    EXPECT_NEAR(found.logprob(), options[i]["sum"], 2e-3);
  }
  const v1::Provenance& provenance = response->provenance(0);
  EXPECT_THAT(provenance.model_digest(), HasSubstr("sha256:"));
  EXPECT_THAT(provenance.tokenizer_digest(), HasSubstr("sha256:"));
  EXPECT_THAT(provenance.input_digest(), HasSubstr("sha256:"));
  EXPECT_EQ(provenance.adapter_digest(), "");
  EXPECT_EQ(provenance.device(), "cpu");
  EXPECT_TRUE(provenance.reproducible());
  EXPECT_GT(response->computed_token_count(), 0);
}

TEST_F(ServingTest, AnAdapterAndItsBaseAnswerSideBySide) {
  const char kAdapter[] = "models/llama/adapters/r8";
  ASSERT_TRUE(
      RegisterAdapter(*server_, kAdapter,
                      InTree("tests/goldens/lora/llama_qkvo_r8/adapter"))
          .ok());
  v1::ScoreRequest request;
  request.add_variants()->set_model("models/llama");
  v1::Variant& tuned = *request.add_variants();
  tuned.set_model("models/llama");
  tuned.set_adapter(kAdapter);
  v1::ScoreItem& item = *request.add_items();
  item.mutable_prompt()->set_id("one");
  for (const int id : {1, 2, 3}) {
    item.mutable_prompt()->mutable_tokens()->add_ids(id);
  }
  item.add_continuations()->mutable_tokens()->add_ids(4);
  request.mutable_dropout()->set_sample_count(2);
  const absl::StatusOr<v1::ScoreResponse> response = Score(*server_, request);
  ASSERT_TRUE(response.ok()) << response.status();
  ASSERT_EQ(response->scores_size(), 4);
  const auto logprob = [&](int i) {
    return response->scores(i).continuations(0).logprob();
  };
  EXPECT_EQ(logprob(0), logprob(1));  // the base model has no dropout
  EXPECT_NE(logprob(0), logprob(2));
  EXPECT_EQ(response->scores(3).variant_index(), 1);
  EXPECT_EQ(response->scores(3).sample_index(), 1);
  EXPECT_NE(response->provenance(1).adapter_digest(), "");
}

TEST_F(ServingTest, AModelWithoutATokenizerTakesTokensAndRefusesText) {
  const absl::Status status =
      Score(*server_, ChatScoreRequest("models/llama")).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("has no tokenizer"));
}

TEST_F(ServingTest, BadRequestsAreRefusedByFieldAndChangeNothing) {
  const auto message = [&](const v1::ScoreRequest& request) {
    return std::string(Score(*server_, request).status().message());
  };
  v1::ScoreRequest request = ChatScoreRequest(kChatModel);
  request.mutable_items(0)->add_continuations()->set_text("");
  EXPECT_THAT(message(request),
              HasSubstr("items[0]: continuations[5]: no tokens are left"));
  request = ChatScoreRequest(kChatModel);
  request.mutable_items(0)->mutable_continuations(2)->mutable_tokens()->add_ids(
      100000);
  EXPECT_THAT(message(request), HasSubstr("100000"));
  request = ChatScoreRequest(kChatModel);
  request.mutable_items(0)->mutable_prompt()->set_text(
      std::string(2 << 20, 'x'));
  EXPECT_THAT(message(request), HasSubstr("limits.text_bytes"));
  request = ChatScoreRequest("models/nobody");
  EXPECT_THAT(message(request), HasSubstr("models/nobody"));
  request = ChatScoreRequest(kChatModel);
  request.clear_items();
  EXPECT_THAT(message(request), HasSubstr("items: expected at least one"));
}

TEST_F(ServingTest, WhatIsFarTooMuchIsRefusedByItsLimit) {
  constexpr int kMany = 1'000'000;
  v1::ScoreRequest request = ChatScoreRequest(kChatModel);
  while (request.items_size() < kMany) request.add_items();
  const absl::Status items = Score(*server_, request).status();
  EXPECT_TRUE(absl::IsResourceExhausted(items)) << items;
  EXPECT_THAT(std::string(items.message()), HasSubstr("limits.items"));
  request = ChatScoreRequest(kChatModel);
  request.mutable_items(0)->clear_continuations();
  request.mutable_items(0)->add_continuations()->mutable_tokens()->add_ids(2);
  auto& ids = *request.mutable_items(0)->mutable_prompt()->mutable_tokens();
  for (int i = 0; i < kMany; ++i) ids.add_ids(1);
  const absl::Status tokens = Score(*server_, request).status();
  EXPECT_THAT(std::string(tokens.message()), HasSubstr("items[0]"));
  EXPECT_THAT(std::string(tokens.message()), HasSubstr("positions end at"));
  v1::CreateJobRequest job;
  *job.mutable_spec() = TinyWorldJob(1);
  auto& mcq = *job.mutable_spec()->mutable_evaluate_mcq();
  mcq.clear_variants();
  mcq.add_variants()->set_model(kChatModel);
  for (int i = 0; i < kMany; ++i) job.add_depends_on("jobs/x");
  v1::CreateJobResponse created;
  const grpc::Status depends = server_->NewStub<v1::Jobs>()->CreateJob(
      server_->NewContext().get(), job, &created);
  EXPECT_EQ(depends.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(depends.error_message(), HasSubstr("at most 64"));
  v1::ListJobsRequest list;
  list.set_page_token(std::string(kMany, '0'));
  v1::ListJobsResponse page;
  const grpc::Status listed = server_->NewStub<v1::Jobs>()->ListJobs(
      server_->NewContext().get(), list, &page);
  EXPECT_EQ(listed.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(listed.error_message(), HasSubstr("page_token"));
  EXPECT_LT(listed.error_message().size(), 1000U);
}

TEST_F(ServingTest, HostileNamesAreRefused) {
  const std::string model = InTree("tests/goldens/models/llama/model");
  const std::string adapter = InTree("tests/goldens/lora/llama_rslora/adapter");
  for (const std::string& part :
       {std::string(), std::string(".."), std::string("../x"),
        std::string("/etc"), std::string("a/b"), std::string("a\0b", 3),
        std::string(".hidden"), std::string("-flag"), std::string("Llama"),
        std::string("ll\xD0\xB0ma"), std::string("llama\xE2\x80\xAE"),
        std::string(64, 'a')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        LoadModel(*server_, "models/" + part, model).status()))
        << part;
    EXPECT_TRUE(absl::IsInvalidArgument(
        RegisterAdapter(*server_, "models/llama/adapters/" + part, adapter)
            .status()))
        << part;
  }
}

TEST_F(ServingTest, ModelsAreListedWithWhatTheyAre) {
  v1::ListModelsResponse models;
  const auto context = server_->NewContext();
  ASSERT_TRUE(server_->NewStub<v1::Models>()
                  ->ListModels(context.get(), v1::ListModelsRequest(), &models)
                  .ok());
  ASSERT_EQ(models.models_size(), 2);
  EXPECT_EQ(models.models(0).name(), kChatModel);
  EXPECT_TRUE(models.models(0).resident());
  EXPECT_TRUE(models.models(0).has_chat_template());
  EXPECT_GT(models.models(0).resident_bytes(), 0);
  EXPECT_EQ(models.models(1).tokenizer_digest(), "");
}

TEST_F(ServingTest, LoadingTheSameAgainIsANoOpAndOtherWeightsAreRefused) {
  const std::string chat = InTree("tests/goldens/e2e_chat/model");
  EXPECT_TRUE(LoadModel(*server_, kChatModel, chat).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(
      LoadModel(*server_, "models/llama", chat).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      LoadModel(*server_, "models/../x", chat).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      LoadModel(*server_, "models/x", "relative").status()));
  EXPECT_TRUE(absl::IsNotFound(
      LoadModel(*server_, "models/x", folder_->path()).status()));
}

TEST_F(ServingTest, AdaptersAreUnloadedLoadedAndDeleted) {
  const std::string name = "models/llama/adapters/life";
  const auto stub = server_->NewStub<v1::Models>();
  ASSERT_TRUE(RegisterAdapter(*server_, name,
                              InTree("tests/goldens/lora/llama_rslora/adapter"))
                  .ok());
  v1::UnloadAdapterRequest unload;
  unload.set_name(name);
  v1::UnloadAdapterResponse unloaded;
  auto context = server_->NewContext();
  ASSERT_TRUE(stub->UnloadAdapter(context.get(), unload, &unloaded).ok());
  EXPECT_FALSE(unloaded.adapter().resident());
  v1::ScoreRequest request;
  v1::Variant& variant = *request.add_variants();
  variant.set_model("models/llama");
  variant.set_adapter(name);
  v1::ScoreItem& item = *request.add_items();
  item.mutable_prompt()->mutable_tokens()->add_ids(1);
  item.add_continuations()->mutable_tokens()->add_ids(4);
  EXPECT_TRUE(absl::IsNotFound(Score(*server_, request).status()));
  v1::LoadAdapterRequest load;
  load.set_name(name);
  v1::LoadAdapterResponse loaded;
  context = server_->NewContext();
  ASSERT_TRUE(stub->LoadAdapter(context.get(), load, &loaded).ok());
  EXPECT_TRUE(loaded.adapter().resident());
  EXPECT_TRUE(Score(*server_, request).ok());
  v1::DeleteAdapterRequest remove;
  remove.set_name(name);
  v1::DeleteAdapterResponse removed;
  context = server_->NewContext();
  ASSERT_TRUE(stub->DeleteAdapter(context.get(), remove, &removed).ok());
  EXPECT_TRUE(absl::IsNotFound(Score(*server_, request).status()));
}

TEST_F(ServingTest, EveryCallNeedsAToken) {
  const std::vector<std::string> values = {"", "Bearer wrong", "Basic x"};
  for (const std::string& value : values) {
    const auto context = [&value] {
      auto out = std::make_unique<grpc::ClientContext>();
      if (!value.empty()) out->AddMetadata("authorization", value);
      return out;
    };
    v1::ServerInfoResponse info;
    const grpc::Status unary = server_->NewStub<v1::Admin>()->ServerInfo(
        context().get(), v1::ServerInfoRequest(), &info);
    EXPECT_EQ(unary.error_code(), grpc::StatusCode::UNAUTHENTICATED);
    EXPECT_THAT(unary.error_message(), HasSubstr("owner.token"));
    v1::ScoreResponse score;
    EXPECT_EQ(server_->NewStub<v1::Inference>()
                  ->Score(context().get(), v1::ScoreRequest(), &score)
                  .error_code(),
              grpc::StatusCode::UNAUTHENTICATED);
    const auto stream_context = context();
    const auto stub = server_->NewStub<v1::Jobs>();
    const auto reader =
        stub->WatchJob(stream_context.get(), v1::WatchJobRequest());
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
    const auto view_context = context();
    const auto views = server_->NewStub<v1::Interpretability>();
    EXPECT_EQ(views->LogitLens(view_context.get(), v1::LogitLensRequest())
                  ->Finish()
                  .error_code(),
              grpc::StatusCode::UNAUTHENTICATED);
  }
}

// The names that the reflection service answers, as one string.
std::string ReflectedServices(ServerProcess& server) {
  grpc::GenericStub stub(server.channel());
  const auto context = server.NewContext();
  grpc::CompletionQueue queue;
  void* tag = nullptr;
  bool ok = false;
  const auto stream = stub.PrepareCall(
      context.get(),
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  stream->StartCall(nullptr);
  queue.Next(&tag, &ok);
  // ServerReflectionRequest{list_services: "*"}, field 7.
  const grpc::Slice bytes(std::string("\x3a\x01*"));
  stream->WriteLast(grpc::ByteBuffer(&bytes, 1), grpc::WriteOptions(), nullptr);
  queue.Next(&tag, &ok);
  grpc::ByteBuffer answer;
  stream->Read(&answer, nullptr);
  queue.Next(&tag, &ok);
  grpc::Slice flat;
  if (!ok || !answer.DumpToSingleSlice(&flat).ok()) return "";
  return std::string(flat.begin(), flat.end());
}

TEST_F(ServingTest, ReflectionListsTheServices) {
  const std::string services = ReflectedServices(*server_);
  for (const char* name : {"Admin", "Artifacts", "Inference",
                           "Interpretability", "Jobs", "Models"}) {
    EXPECT_THAT(services, HasSubstr(std::string("dissonance.v1.") + name));
  }
}

TEST_F(ServingTest, ServerInfoTellsWhatRuns) {
  const v1::ServerInfoResponse info = server_->Info();
  EXPECT_EQ(info.data_dir(),
            std::filesystem::path(folder_->path()).lexically_normal());
  EXPECT_THAT(info.addresses(0), HasSubstr("/dissonance.sock"));
  EXPECT_EQ(info.workers(0).state(), v1::WORKER_STATE_READY);
  EXPECT_GT(info.workers(0).pid(), 0);
  EXPECT_THAT(info.config_toml(), HasSubstr("step_tokens"));
  EXPECT_FALSE(info.draining());
}

TEST_F(ServingTest, NothingSecretIsLogged) {
  const std::string log = server_->Log();
  EXPECT_THAT(log, HasSubstr("method=/dissonance.v1.Models/LoadModel code=OK"));
  EXPECT_FALSE(absl::StrContains(log, server_->OwnerToken()));
  EXPECT_FALSE(absl::StrContains(log, "which is larger"));
}

TEST(LimitsTest, AMessageThatIsTooLargeIsRefused) {
  const TempFolder folder;
  ServerProcess server({.data_dir = folder.path(),
                        .config = "[limits]\nmessage_bytes = 1048576\n"});
  ASSERT_TRUE(server.AwaitServing());
  v1::ScoreRequest request = ChatScoreRequest(kChatModel);
  request.mutable_items(0)->mutable_prompt()->set_text(
      std::string(2 << 20, 'x'));
  const absl::Status refused = Score(server, request).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("1048576"));
}

}  // namespace
}  // namespace dissonance
