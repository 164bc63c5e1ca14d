// What changes while requests run: adapters replaced and deleted, models that
// leave memory, readers that stop reading.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "src/base/file.h"
#include "tests/server/interp_fixture.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr char kAdapter[] = "models/llama/adapters/a";

std::string AdapterPath(const std::string& name) {
  return InTree("tests/goldens/lora/" + name + "/adapter");
}

class ServerInUseTest : public InterpFixture {
 protected:
  static void Register(const std::string& name, const std::string& golden) {
    const auto registered =
        RegisterAdapter(*server_, name, AdapterPath(golden));
    ASSERT_TRUE(registered.ok()) << registered.status();
  }
  // A prompt longer than the tiles that are kept for later prompts.
  static v1::GenerateRequest LongRequest(const std::string& adapter,
                                         int count) {
    v1::GenerateRequest request;
    v1::Variant& variant = *request.add_variants();
    variant.set_model(kLlama);
    variant.set_adapter(adapter);
    std::vector<int32_t> ids;
    for (int i = 0; i < 140; ++i) ids.push_back(3 + (i * 7) % 200);
    *request.add_inputs() = Tokens(ids);
    request.mutable_options()->set_max_new_token_count(count);
    request.mutable_options()->set_ignore_eos(true);
    return request;
  }
  static Sample OnlySample(const v1::GenerateRequest& request) {
    const Generated out = Generate(request);
    EXPECT_TRUE(out.status.ok()) << out.status.error_message();
    return out.status.ok() ? out.samples.at({0, 0, 0}) : Sample();
  }
  static int64_t WorkerBytes() {
    const auto text =
        ReadFile(absl::StrCat("/proc/", server_->WorkerPid(), "/statm"), 4096);
    const std::vector<std::string> fields = absl::StrSplit(*text, ' ');
    int64_t pages = 0;
    EXPECT_TRUE(absl::SimpleAtoi(fields.at(1), &pages));
    return pages * 4096;
  }
};

TEST_F(ServerInUseTest, TheSameNameWithNewContentGivesNewResults) {
  Register(kAdapter, "llama_qkvo_r8");
  const Sample first = OnlySample(LongRequest(kAdapter, 4));
  EXPECT_EQ(OnlySample(LongRequest(kAdapter, 4)).logprobs, first.logprobs);
  Register(kAdapter, "llama_all_linear_r4");
  const Sample replaced = OnlySample(LongRequest(kAdapter, 4));
  EXPECT_NE(replaced.logprobs, first.logprobs);
  // As if the name had never meant anything else.
  Register("models/llama/adapters/fresh", "llama_all_linear_r4");
  const Sample fresh =
      OnlySample(LongRequest("models/llama/adapters/fresh", 4));
  EXPECT_EQ(replaced.logprobs, fresh.logprobs);
  EXPECT_EQ(replaced.tokens, fresh.tokens);
}

TEST_F(ServerInUseTest, AnAdapterThatIsDeletedInUseServesItsRequestToTheEnd) {
  Register(kAdapter, "llama_qkvo_r8");
  // Some 40 MB, which is more than waits between worker and client: while the
  // first tokens are read, later ones are still to be computed.
  v1::GenerateRequest request = LongRequest(kAdapter, 300);
  request.set_sample_count(40);
  request.set_top_logprob_count(250);
  const Generated undisturbed = Generate(request);
  ASSERT_TRUE(undisturbed.status.ok()) << undisturbed.status.error_message();

  const auto stub = server_->NewStub<v1::Inference>();
  const auto context = server_->NewContext();
  const auto reader = stub->Generate(context.get(), request);
  std::map<int, Sample> samples;
  bool is_deleted = false;
  for (v1::GenerateResponse event; reader->Read(&event);) {
    Sample& sample = samples[event.sample_index()];
    for (const v1::GeneratedToken& token : event.delta().tokens()) {
      sample.tokens.push_back(token.token_id());
      sample.logprobs.push_back(token.logprob());
    }
    if (is_deleted || sample.tokens.empty()) continue;
    const auto models = server_->NewStub<v1::Models>();
    const auto other = server_->NewContext();
    v1::DeleteAdapterRequest deletion;
    deletion.set_name(kAdapter);
    v1::DeleteAdapterResponse deleted;
    ASSERT_TRUE(models->DeleteAdapter(other.get(), deletion, &deleted).ok());
    is_deleted = true;
  }
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  for (int s = 0; s < 40; ++s) {
    const Sample& own = undisturbed.samples.at({0, 0, s});
    ASSERT_EQ(own.tokens.size(), 300U);
    EXPECT_EQ(samples[s].tokens, own.tokens);
    EXPECT_EQ(samples[s].logprobs, own.logprobs);
  }
  const grpc::Status next = Generate(request).status;
  EXPECT_EQ(next.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(next.error_message(), HasSubstr("register it first"));
}

TEST_F(ServerInUseTest, AReaderThatStopsHoldsNoMemoryAndNobodyUp) {
  v1::StreamActivationsRequest request;
  request.add_variants()->set_model(kTinyModel);
  std::string text;
  for (int i = 0; i < 60; ++i) text += "The force of gravity falls. ";
  for (int i = 0; i < 64; ++i) {
    request.add_inputs()->set_text(absl::StrCat(i, ". ", text));
  }
  for (const v1::Site site : {v1::SITE_RESID_PRE, v1::SITE_RESID_MID,
                              v1::SITE_RESID_POST, v1::SITE_MLP_HIDDEN}) {
    request.mutable_capture()->add_sites(site);
  }
  const auto stub = server_->NewStub<v1::Interpretability>();
  const auto context = server_->NewContext();
  const auto reader = stub->StreamActivations(context.get(), request);
  v1::StreamActivationsResponse response;
  int64_t bytes = 0;
  const auto count = [&] {
    bytes += static_cast<int64_t>(response.chunk().tensor().data().size());
  };
  ASSERT_TRUE(reader->Read(&response));
  // Others are served, each with several steps of the engine; the one that
  // nobody reads stays where it is.
  const v1::GenerateRequest other = TinyRequest("The force of gravity", 24);
  const Sample first = OnlySample(other);
  const int64_t before = WorkerBytes();
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(OnlySample(other).logprobs, first.logprobs);
  }
  EXPECT_LT(WorkerBytes() - before, 16 << 20);
  // Read on, nothing is missing.
  while (reader->Read(&response)) count();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(response.has_summary());
  EXPECT_GT(bytes, 100 << 20);
}

// A bound that holds one of the two models.
TEST(ServerWeightsTest, ModelsComeAndGoWithinTheBound) {
  const TempFolder folder;
  ServerProcess server({.data_dir = folder.path(),
                        .config = "[worker]\nweight_bytes = 2000000\n"});
  ASSERT_TRUE(server.AwaitServing());
  const std::string models = "tests/goldens/models/";
  for (const char* name : {"llama", "qwen2", "gpt2"}) {
    const auto loaded = LoadModel(server, absl::StrCat("models/", name),
                                  InTree(models + name + "/model"));
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_TRUE(loaded->resident());
  }
  const auto list = [&server] {
    v1::ListModelsResponse response;
    const auto stub = server.NewStub<v1::Models>();
    const auto context = server.NewContext();
    EXPECT_TRUE(
        stub->ListModels(context.get(), v1::ListModelsRequest(), &response)
            .ok());
    std::map<std::string, bool> resident;
    int64_t bytes = 0;
    for (const v1::Model& model : response.models()) {
      resident[model.name()] = model.resident();
      bytes += model.resident_bytes();
    }
    EXPECT_LE(bytes, 2000000);
    return resident;
  };
  EXPECT_EQ(list().size(), 3U);
  EXPECT_TRUE(list()["models/gpt2"]);
  EXPECT_FALSE(list()["models/llama"]);
  // Asked for, it is back.
  v1::ScoreRequest request;
  request.add_variants()->set_model("models/llama");
  v1::ScoreItem& item = *request.add_items();
  for (const int id : {5, 6, 7})
    item.mutable_prompt()->mutable_tokens()->add_ids(id);
  item.add_continuations()->mutable_tokens()->add_ids(8);
  const auto scored = Score(server, request);
  ASSERT_TRUE(scored.ok()) << scored.status();
  EXPECT_TRUE(list()["models/llama"]);
}

}  // namespace
}  // namespace dissonance
