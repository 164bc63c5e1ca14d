// Generation through both processes, against transformers' tokens and against
// itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/server/interp_fixture.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

class ServerGenerateTest : public InterpFixture {};

TEST_F(ServerGenerateTest, GeneratesTransformersTokensForManyInputsAtOnce) {
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

TEST_F(ServerGenerateTest, ASampleDependsOnItsSeedAlone) {
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

TEST_F(ServerGenerateTest, StopStringsEchoAndTopTokens) {
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

TEST_F(ServerGenerateTest, RefusalsNameTheField) {
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
TEST_F(ServerGenerateTest, SteersOneVariantOfARequest) {
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

}  // namespace
}  // namespace dissonance
