// Generation, activations, the lens, comparison and patches through both
// processes, against transformers' numbers and against each other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/interpretability.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr char kLlama[] = "models/llama";

class InterpTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    server_ = new ServerProcess({.data_dir = folder_->path()});
    ASSERT_TRUE(server_->AwaitServing());
    ASSERT_TRUE(
        LoadModel(*server_, kLlama, InTree("tests/goldens/models/llama/model"))
            .ok());
    ASSERT_TRUE(LoadTinyWorld(*server_).ok());
    golden_ = Parse("tests/goldens/models/llama/case.json");
    steering_ = Parse("tests/goldens/steering/case.json");
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(server_->Stop(), 0);
    delete server_;
    delete folder_;
  }

  static json Parse(const std::string& path) {
    return json::parse(*ReadFile(InTree(path), 1 << 24));
  }

  // All messages of a stream, which must end as `status` says.
  template <typename Service, typename Request, typename Response>
  static grpc::Status Read(std::unique_ptr<grpc::ClientReader<Response>> (
                               Service::Stub::*method)(grpc::ClientContext*,
                                                       const Request&),
                           const Request& request,
                           std::vector<Response>& responses) {
    const auto stub = server_->NewStub<Service>();
    auto context = server_->NewContext();
    const auto reader = ((*stub).*method)(context.get(), request);
    for (Response response; reader->Read(&response);) {
      responses.push_back(response);
    }
    return reader->Finish();
  }

  struct Sample {
    std::vector<int32_t> tokens;
    std::vector<double> logprobs;
    std::string text;
    v1::GenerateEnd end;
  };
  struct Generated {
    // By variant, input, sample.
    std::map<std::tuple<int, int, int>, Sample> samples;
    std::map<std::pair<int, int>, v1::GeneratePrompt> prompts;
    v1::GenerateSummary summary;
    grpc::Status status;
  };

  static Generated Generate(const v1::GenerateRequest& request) {
    Generated out;
    std::vector<v1::GenerateResponse> events;
    out.status =
        Read<v1::Inference>(&v1::Inference::Stub::Generate, request, events);
    for (const v1::GenerateResponse& event : events) {
      Sample& sample = out.samples[{event.variant_index(), event.input_index(),
                                    event.sample_index()}];
      if (event.has_prompt()) {
        out.prompts[{event.variant_index(), event.input_index()}] =
            event.prompt();
      }
      for (const v1::GeneratedToken& token : event.delta().tokens()) {
        sample.tokens.push_back(token.token_id());
        sample.logprobs.push_back(token.logprob());
      }
      sample.text += event.delta().text();
      if (event.has_end()) {
        sample.end = event.end();
        sample.text += event.end().text();
      }
      if (event.has_summary()) out.summary = event.summary();
    }
    return out;
  }

  static v1::Input Tokens(const std::vector<int32_t>& ids) {
    v1::Input input;
    input.mutable_tokens()->mutable_ids()->Assign(ids.begin(), ids.end());
    return input;
  }
  static v1::GenerateRequest TinyRequest(const std::string& text, int count) {
    v1::GenerateRequest request;
    request.add_variants()->set_model(kTinyModel);
    request.add_inputs()->set_text(text);
    request.mutable_options()->set_max_new_token_count(count);
    return request;
  }

  static std::vector<float> Floats(const v1::Tensor& tensor) {
    EXPECT_EQ(tensor.dtype(), v1::DTYPE_FLOAT32);
    std::vector<float> values(tensor.data().size() / sizeof(float));
    std::memcpy(values.data(), tensor.data().data(), tensor.data().size());
    return values;
  }

  struct Activations {
    std::vector<std::string> cursors;
    std::vector<v1::RowLabel> labels;
    std::map<std::string, std::vector<float>> values;  // by "variant.place"
    v1::ActivationSummary summary;
    grpc::Status status;
  };
  static Activations Stream(const v1::StreamActivationsRequest& request) {
    Activations out;
    std::vector<v1::StreamActivationsResponse> responses;
    out.status = Read<v1::Interpretability>(
        &v1::Interpretability::Stub::StreamActivations, request, responses);
    int variant = 0;
    for (const v1::StreamActivationsResponse& response : responses) {
      if (!response.cursor().empty()) out.cursors.push_back(response.cursor());
      if (response.has_rows()) {
        variant = response.rows().variant_index();
        out.labels.insert(out.labels.end(), response.rows().rows().begin(),
                          response.rows().rows().end());
      }
      if (response.has_chunk()) {
        const v1::ActivationChunk& chunk = response.chunk();
        std::vector<float>& values = out.values[absl::StrCat(
            variant, ".", v1::Site_Name(chunk.place().site()), ".",
            chunk.place().block())];
        const std::vector<float> own = Floats(chunk.tensor());
        values.insert(values.end(), own.begin(), own.end());
      }
      if (response.has_summary()) out.summary = response.summary();
    }
    return out;
  }

  static TempFolder* folder_;
  static ServerProcess* server_;
  static json golden_;
  static json steering_;
};
TempFolder* InterpTest::folder_ = nullptr;
ServerProcess* InterpTest::server_ = nullptr;
json InterpTest::golden_;
json InterpTest::steering_;

TEST_F(InterpTest, GeneratesTransformersTokensForManyInputsAtOnce) {
  v1::GenerateRequest request;
  request.add_variants()->set_model(kLlama);
  for (const json& prompt : golden_["prompts"]) {
    *request.add_inputs() = Tokens(prompt["ids"].get<std::vector<int32_t>>());
  }
  request.mutable_options()->set_max_new_token_count(24);
  request.mutable_options()->set_ignore_eos(true);
  const Generated out = Generate(request);
  ASSERT_TRUE(out.status.ok()) << out.status.error_message();
  for (int i = 0; i < request.inputs_size(); ++i) {
    const json& prompt = golden_["prompts"][static_cast<size_t>(i)];
    const Sample& sample = out.samples.at({0, i, 0});
    EXPECT_THAT(
        sample.tokens,
        ElementsAreArray(prompt["gen_ids"].get<std::vector<int32_t>>()));
    EXPECT_EQ(sample.end.finish_reason(), v1::FINISH_REASON_LENGTH);
    EXPECT_EQ(sample.end.token_count(), 24);
    EXPECT_EQ(out.prompts.at({0, i}).token_count(), prompt["length"]);
  }
  EXPECT_EQ(out.summary.generated_token_count(), 24 * request.inputs_size());
  ASSERT_EQ(out.summary.provenance_size(), 1);
  EXPECT_TRUE(out.summary.provenance(0).reproducible());
}

TEST_F(InterpTest, ASampleDependsOnItsSeedAlone) {
  v1::GenerateRequest request = TinyRequest("The force of gravity", 12);
  request.mutable_options()->mutable_sampling()->set_temperature(1.0);
  request.mutable_options()->mutable_sampling()->set_seed(40);
  request.set_sample_count(6);
  request.add_inputs()->set_text("Water boils");
  const Generated many = Generate(request);
  ASSERT_TRUE(many.status.ok()) << many.status.error_message();
  v1::GenerateRequest alone = TinyRequest("The force of gravity", 12);
  alone.mutable_options()->mutable_sampling()->set_temperature(1.0);
  alone.mutable_options()->mutable_sampling()->set_seed(43);
  const Generated one = Generate(alone);
  EXPECT_EQ(one.samples.at({0, 0, 0}).tokens,
            many.samples.at({0, 0, 3}).tokens);
  EXPECT_EQ(one.samples.at({0, 0, 0}).logprobs,
            many.samples.at({0, 0, 3}).logprobs);
  EXPECT_NE(many.samples.at({0, 0, 0}).tokens,
            many.samples.at({0, 0, 3}).tokens);
  EXPECT_EQ(many.samples.at({0, 0, 3}).end.seed(), 43);
}

TEST_F(InterpTest, StopStringsEchoAndTopTokens) {
  const Generated whole = Generate(TinyRequest("The force of gravity", 16));
  ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
  const Sample& plain = whole.samples.at({0, 0, 0});
  ASSERT_GT(plain.text.size(), 8U);
  const std::string stop = plain.text.substr(5, 3);

  v1::GenerateRequest request = TinyRequest("The force of gravity", 16);
  request.mutable_options()->add_stop_strings(stop);
  request.set_echo(true);
  request.set_top_logprob_count(3);
  std::vector<v1::GenerateResponse> events;
  ASSERT_TRUE(
      Read<v1::Inference>(&v1::Inference::Stub::Generate, request, events)
          .ok());
  const Generated stopped = Generate(request);
  const Sample& sample = stopped.samples.at({0, 0, 0});
  EXPECT_EQ(sample.text, plain.text.substr(0, plain.text.find(stop)));
  EXPECT_EQ(sample.end.finish_reason(), v1::FINISH_REASON_STOP_STRING);
  const v1::GeneratePrompt& prompt = stopped.prompts.at({0, 0});
  EXPECT_EQ(prompt.tokens_size(), prompt.token_count());
  EXPECT_FALSE(prompt.tokens(0).has_logprob());
  EXPECT_TRUE(prompt.tokens(1).has_logprob());
  EXPECT_THAT(prompt.text(), HasSubstr("The force of gravity"));
  for (const v1::GenerateResponse& event : events) {
    for (const v1::GeneratedToken& token : event.delta().tokens()) {
      ASSERT_EQ(token.top_size(), 3);
      // Greedy: the token is the best.
      EXPECT_EQ(token.top(0).token_id(), token.token_id());
      EXPECT_EQ(token.top(0).logprob(), token.logprob());
      EXPECT_GE(token.top(1).logprob(), token.top(2).logprob());
    }
  }
}

TEST_F(InterpTest, RefusalsNameTheField) {
  const auto error = [](auto change) {
    v1::GenerateRequest request = TinyRequest("x", 4);
    change(request);
    return Generate(request).status.error_message();
  };
  EXPECT_THAT(error([](auto& r) { r.clear_variants(); }),
              HasSubstr("variants: expected at least one"));
  EXPECT_THAT(error([](auto& r) { r.clear_inputs(); }),
              HasSubstr("inputs: expected at least one"));
  EXPECT_THAT(error([](auto& r) { r.clear_options(); }),
              HasSubstr("options.max_new_token_count: expected 1"));
  EXPECT_THAT(error([](auto& r) {
                r.mutable_options()->mutable_sampling()->set_top_p(2);
              }),
              HasSubstr("options.sampling: top_p"));
  EXPECT_THAT(
      error([](auto& r) { r.mutable_variants(0)->set_model("models/no"); }),
      HasSubstr("no model models/no"));
  EXPECT_THAT(error([](auto& r) {
                v1::Intervention& own =
                    *r.mutable_variants(0)->add_interventions();
                own.set_site(v1::SITE_RESID_POST);
                own.add_blocks(99);
                own.mutable_zero();
              }),
              HasSubstr("variants[0]: interventions[0]: "));
  EXPECT_THAT(error([](auto& r) { r.add_inputs()->set_id("q7"); }),
              HasSubstr("inputs[1] (q7)"));
}

// Steered generation is the golden's, and unsteered rows beside it are not
// touched.
TEST_F(InterpTest, SteersOneVariantOfARequest) {
  const json& each = steering_["steering"]["cases"][0];
  v1::GenerateRequest request;
  request.add_variants()->set_model(kLlama);
  v1::Variant& steered = *request.add_variants();
  steered.set_model(kLlama);
  v1::Intervention& own = *steered.add_interventions();
  own.set_site(v1::SITE_RESID_POST);
  own.add_blocks(each["layer"]);
  own.mutable_scale()->set_factor(-1.0);
  *request.add_inputs() = Tokens(golden_["prompts"][1]["ids"]);
  request.mutable_options()->set_max_new_token_count(24);
  request.mutable_options()->set_ignore_eos(true);
  const Generated out = Generate(request);
  ASSERT_TRUE(out.status.ok()) << out.status.error_message();
  EXPECT_THAT(out.samples.at({0, 0, 0}).tokens,
              ElementsAreArray(
                  golden_["prompts"][1]["gen_ids"].get<std::vector<int>>()));
  EXPECT_NE(out.samples.at({1, 0, 0}).tokens, out.samples.at({0, 0, 0}).tokens);
}

v1::StreamActivationsRequest ActivationsRequest(const json& golden) {
  v1::StreamActivationsRequest request;
  request.add_variants()->set_model(kLlama);
  v1::Variant& changed = *request.add_variants();
  changed.set_model(kLlama);
  v1::Intervention& own = *changed.add_interventions();
  own.set_site(v1::SITE_RESID_PRE);
  own.add_blocks(1);
  own.mutable_zero();
  for (const json& prompt : golden["prompts"]) {
    const auto ids = prompt["ids"].get<std::vector<int32_t>>();
    request.add_inputs()->mutable_tokens()->mutable_ids()->Assign(ids.begin(),
                                                                  ids.end());
  }
  request.mutable_capture()->add_sites(v1::SITE_RESID_POST);
  request.mutable_capture()->add_sites(v1::SITE_Z);
  return request;
}

TEST_F(InterpTest, ActivationsComeInOrderAndGoOnBehindACursor) {
  v1::StreamActivationsRequest request = ActivationsRequest(golden_);
  const Activations whole = Stream(request);
  ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
  size_t rows = 0;
  for (const json& prompt : golden_["prompts"]) {
    rows += prompt["ids"].size();
  }
  ASSERT_EQ(whole.labels.size(), 2 * rows);
  EXPECT_EQ(whole.summary.row_count(), static_cast<int64_t>(2 * rows));
  size_t next = 0;
  for (int variant = 0; variant < 2; ++variant) {
    for (size_t i = 0; i < golden_["prompts"].size(); ++i) {
      const json& ids = golden_["prompts"][i]["ids"];
      for (size_t position = 0; position < ids.size(); ++position, ++next) {
        EXPECT_EQ(whole.labels[next].input_index(), static_cast<int>(i));
        EXPECT_EQ(whole.labels[next].position(), static_cast<int>(position));
        EXPECT_EQ(whole.labels[next].token_id(), ids[position]);
      }
    }
  }
  EXPECT_EQ(whole.values.at("0.SITE_RESID_POST.0").size(), rows * 64);
  EXPECT_EQ(whole.values.at("0.SITE_Z.3").size(), rows * 64);
  EXPECT_NE(whole.values.at("0.SITE_RESID_POST.1"),
            whole.values.at("1.SITE_RESID_POST.1"));

  const size_t units = 2 * golden_["prompts"].size();
  ASSERT_EQ(whole.cursors.size(), units);
  request.set_cursor(whole.cursors[units - 2]);
  const Activations rest = Stream(request);
  ASSERT_TRUE(rest.status.ok()) << rest.status.error_message();
  EXPECT_EQ(rest.labels.size(), golden_["prompts"].back()["ids"].size());
  const std::vector<float>& all = whole.values.at("1.SITE_RESID_POST.2");
  const std::vector<float>& tail = rest.values.at("1.SITE_RESID_POST.2");
  EXPECT_EQ(std::vector<float>(all.end() - static_cast<int64_t>(tail.size()),
                               all.end()),
            tail);
  request.mutable_capture()->add_blocks(0);
  EXPECT_EQ(Stream(request).status.error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(InterpTest, MeansAndGeneratedPositions) {
  v1::StreamActivationsRequest request = ActivationsRequest(golden_);
  request.mutable_variants()->RemoveLast();
  request.mutable_inputs()->DeleteSubrange(1, request.inputs_size() - 1);
  const Activations rows = Stream(request);
  request.mutable_capture()->set_reduction(v1::REDUCTION_MEAN);
  const Activations mean = Stream(request);
  ASSERT_TRUE(mean.status.ok()) << mean.status.error_message();
  ASSERT_EQ(mean.labels.size(), 1U);
  const std::vector<float>& all = rows.values.at("0.SITE_RESID_POST.1");
  const std::vector<float>& own = mean.values.at("0.SITE_RESID_POST.1");
  ASSERT_EQ(own.size(), 64U);
  for (size_t d = 0; d < 64; ++d) {
    double sum = 0.0;
    for (size_t at = d; at < all.size(); at += 64) sum += all[at];
    EXPECT_NEAR(own[d], sum / static_cast<double>(all.size() / 64), 1e-5);
  }

  request.mutable_capture()->set_reduction(v1::REDUCTION_UNSPECIFIED);
  request.mutable_capture()->mutable_positions()->set_set(
      v1::POSITION_SET_GENERATED);
  EXPECT_THAT(Stream(request).status.error_message(), HasSubstr("generated"));
  request.mutable_generation()->set_max_new_token_count(5);
  request.mutable_generation()->set_ignore_eos(true);
  const Activations generated = Stream(request);
  ASSERT_TRUE(generated.status.ok()) << generated.status.error_message();
  // The last new token is not fed back.
  ASSERT_EQ(generated.labels.size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(generated.labels[i].generated());
    EXPECT_EQ(generated.labels[i].token_id(),
              golden_["prompts"][0]["gen_ids"][i]);
  }
}

TEST_F(InterpTest, TheLensEndsWithTheModelsOwnOutput) {
  v1::LogitLensRequest request;
  request.add_variants()->set_model(kLlama);
  for (const json& ids : steering_["steering"]["prompts"]) {
    *request.add_inputs() = Tokens(ids.get<std::vector<int32_t>>());
  }
  v1::Candidate& a = *request.add_candidates();
  a.set_name("a");
  a.set_token_id(20);
  v1::Candidate& b = *request.add_candidates();
  b.set_name("b");
  b.set_token_id(168);
  request.set_top_k(2);
  std::vector<v1::LogitLensResponse> responses;
  ASSERT_TRUE(Read<v1::Interpretability>(&v1::Interpretability::Stub::LogitLens,
                                         request, responses)
                  .ok());
  ASSERT_EQ(responses.size(), 4U);
  EXPECT_TRUE(responses.back().has_summary());
  v1::GenerateRequest generate;
  generate.add_variants()->set_model(kLlama);
  *generate.mutable_inputs() = request.inputs();
  generate.mutable_options()->set_max_new_token_count(1);
  generate.set_top_logprob_count(2);
  std::vector<v1::GenerateResponse> events;
  ASSERT_TRUE(
      Read<v1::Inference>(&v1::Inference::Stub::Generate, generate, events)
          .ok());
  std::map<int, v1::GeneratedToken> firsts;
  for (const v1::GenerateResponse& event : events) {
    if (event.has_delta())
      firsts[event.input_index()] = event.delta().tokens(0);
  }
  for (int i = 0; i < 3; ++i) {
    const v1::LensPosition& position =
        responses[static_cast<size_t>(i)].position();
    ASSERT_EQ(position.layers_size(), 5);
    EXPECT_EQ(position.row().input_index(), i);
    const v1::LensLayer& last = *position.layers().rbegin();
    EXPECT_EQ(last.place().site(), v1::SITE_FINAL_NORM);
    EXPECT_EQ(last.top(0).token_id(), firsts[i].top(0).token_id());
    EXPECT_NEAR(last.top(1).logprob(), firsts[i].top(1).logprob(), 1e-6);
    // The last block's residual stream is what the model reads itself.
    const v1::LensLayer& block = position.layers(3);
    EXPECT_EQ(block.place().block(), 3);
    for (int c = 0; c < 2; ++c) {
      EXPECT_NEAR(block.candidates(c).logit(), last.candidates(c).logit(),
                  1e-4);
      EXPECT_NEAR(std::exp(last.candidates(c).logprob()),
                  last.candidates(c).prob(), 1e-12);
    }
    EXPECT_NEAR(last.margin(),
                last.candidates(0).logit() - last.candidates(1).logit(), 1e-12);
    EXPECT_TRUE(position.has_breaking_block());
    EXPECT_LE(position.breaking_block(), 3);
  }
}

TEST_F(InterpTest, ComparisonIsNothingForTheSameAndMoreForAChangedOne) {
  v1::CompareVariantsRequest request;
  request.add_variants()->set_model(kLlama);
  request.add_variants()->set_model(kLlama);
  v1::Variant& changed = *request.add_variants();
  changed.set_model(kLlama);
  v1::Intervention& own = *changed.add_interventions();
  own.set_site(v1::SITE_MLP_OUT);
  own.add_blocks(2);
  own.mutable_zero();
  *request.add_inputs() = Tokens(golden_["prompts"][2]["ids"]);
  request.set_top_k(3);
  std::vector<v1::CompareVariantsResponse> responses;
  const grpc::Status status = Read<v1::Interpretability>(
      &v1::Interpretability::Stub::CompareVariants, request, responses);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const size_t count = golden_["prompts"][2]["ids"].size();
  ASSERT_EQ(responses.size(), count + 1);
  double total = 0.0;
  for (size_t p = 0; p < count; ++p) {
    const v1::ComparedPosition& position = responses[p].position();
    ASSERT_EQ(position.readings_size(), 3);
    EXPECT_EQ(position.row().position(), static_cast<int>(p));
    const v1::VariantReading& same = position.readings(1);
    EXPECT_EQ(same.kl(), 0.0);
    for (const v1::ResidualDifference& block : same.residual()) {
      EXPECT_EQ(block.distance(), 0.0);
      EXPECT_EQ(block.lens_kl(), 0.0);
      EXPECT_NEAR(block.cosine(), 1.0, 1e-12);
    }
    const v1::VariantReading& other = position.readings(2);
    ASSERT_EQ(other.residual_size(), 4);
    EXPECT_EQ(other.residual(1).distance(), 0.0);
    EXPECT_GT(other.residual(2).distance(), 0.0);
    // The last block's lens is the model's own output.
    EXPECT_NEAR(other.residual(3).lens_kl(), other.kl(), 1e-5);
    total += other.kl();
  }
  EXPECT_GT(total, 0.01);
  request.mutable_variants(1)->set_model(kTinyModel);
  EXPECT_THAT(
      Read<v1::Interpretability>(&v1::Interpretability::Stub::CompareVariants,
                                 request, responses)
          .error_message(),
      HasSubstr("only variants of one model"));
}

TEST_F(InterpTest, PatchesAsTransformersWithHooksDoes) {
  const json& grid = steering_["patch_grid"];
  v1::PatchRequest request;
  request.mutable_source()->set_model(kLlama);
  request.mutable_target()->set_model(kLlama);
  *request.add_inputs() = Tokens(grid["corrupt"]);
  *request.add_source_inputs() = Tokens(grid["clean"]);
  request.add_sites(v1::SITE_RESID_POST);
  request.mutable_positions()->set_set(v1::POSITION_SET_PROMPT);
  request.add_candidates()->set_token_id(grid["token_a"]);
  request.add_candidates()->set_token_id(grid["token_b"]);
  const auto stub = server_->NewStub<v1::Interpretability>();
  v1::PatchResponse response;
  auto context = server_->NewContext();
  const grpc::Status status = stub->Patch(context.get(), request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const size_t count = grid["corrupt"].size();
  ASSERT_EQ(static_cast<size_t>(response.results_size()), 4 * count);
  for (const v1::PatchResult& result : response.results()) {
    EXPECT_NEAR(result.delta_before(), grid["corrupt_logit_diff"].get<double>(),
                1e-4);
    EXPECT_NEAR(result.delta_source(), grid["clean_logit_diff"].get<double>(),
                1e-4);
    EXPECT_EQ(result.flip(),
              (result.delta_before() > 0) != (result.delta_after() > 0));
  }
  // All rows of the last position's last block are the source's own.
  const v1::PatchResult& last = *response.results().rbegin();
  EXPECT_EQ(last.place().block(), 3);
  EXPECT_NEAR(last.delta_after(), last.delta_source(), 1e-4);
  EXPECT_TRUE(last.flip());

  *request.add_candidates() = request.candidates(0);
  context = server_->NewContext();
  EXPECT_THAT(stub->Patch(context.get(), request, &response).error_message(),
              HasSubstr("candidates: expected two, found 3"));
}

}  // namespace
}  // namespace dissonance
