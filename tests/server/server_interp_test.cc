// Activations, the lens, comparison and patches through both processes, against
// transformers' numbers and against each other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "google/protobuf/util/message_differencer.h"
#include "tests/server/interp_fixture.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class ServerInterpTest : public InterpFixture {};

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

TEST_F(ServerInterpTest, ActivationsComeInOrderAndGoOnBehindACursor) {
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
  // From the kept answer, then from the network.
  for (const bool from_store : {true, false}) {
    if (!from_store) ForgetKept();
    const Activations rest = Stream(request);
    ASSERT_TRUE(rest.status.ok()) << rest.status.error_message();
    EXPECT_EQ(rest.summary.from_store(), from_store);
    const size_t left = golden_["prompts"].back()["ids"].size();
    EXPECT_EQ(rest.labels.size(), left);
    EXPECT_EQ(rest.summary.row_count(), static_cast<int64_t>(left));
    const std::vector<float>& all = whole.values.at("1.SITE_RESID_POST.2");
    const std::vector<float>& tail = rest.values.at("1.SITE_RESID_POST.2");
    EXPECT_EQ(std::vector<float>(all.end() - static_cast<int64_t>(tail.size()),
                                 all.end()),
              tail);
  }
  request.mutable_capture()->add_blocks(0);
  EXPECT_EQ(Stream(request).status.error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(ServerInterpTest, TheSameRequestIsAnsweredFromTheStore) {
  v1::StreamActivationsRequest request = ActivationsRequest(golden_);
  request.mutable_capture()->add_blocks(3);
  const Activations first = Stream(request);
  EXPECT_FALSE(first.summary.from_store());
  const Activations again = Stream(request);
  EXPECT_TRUE(again.summary.from_store());
  EXPECT_EQ(again.values, first.values);
  EXPECT_EQ(again.cursors, first.cursors);
  EXPECT_EQ(again.summary.row_count(), first.summary.row_count());
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(
      again.summary.provenance(1), first.summary.provenance(1)));
  // Another question is computed: another network, other tokens.
  v1::StreamActivationsRequest other = request;
  other.mutable_variants(1)->mutable_interventions(0)->set_blocks(0, 2);
  EXPECT_FALSE(Stream(other).summary.from_store());
  other = request;
  other.mutable_inputs(0)->mutable_tokens()->set_ids(0, 7);
  EXPECT_FALSE(Stream(other).summary.from_store());
  EXPECT_TRUE(Stream(request).summary.from_store());
  ForgetKept();
  const Activations computed = Stream(request);
  EXPECT_FALSE(computed.summary.from_store());
  EXPECT_EQ(computed.values, first.values);
}

TEST_F(ServerInterpTest, MeansAndGeneratedPositions) {
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

TEST_F(ServerInterpTest, TheLensEndsWithTheModelsOwnOutput) {
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

TEST_F(ServerInterpTest, ComparisonIsNothingForTheSameAndMoreForAChangedOne) {
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

TEST_F(ServerInterpTest, PatchesAsTransformersWithHooksDoes) {
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

// Where both rows are close, what patching does is what its slope says: the
// source is the target with a small vector added at the embedding.
TEST_F(ServerInterpTest, AttributionIsPatchingToFirstOrder) {
  const json& grid = steering_["patch_grid"];
  v1::PatchRequest request;
  request.mutable_target()->set_model(kLlama);
  *request.mutable_source() = request.target();
  *request.add_inputs() = Tokens(grid["corrupt"]);
  for (const v1::Site site : {v1::SITE_RESID_PRE, v1::SITE_Z, v1::SITE_ATTN_OUT,
                              v1::SITE_MLP_OUT, v1::SITE_RESID_POST}) {
    request.add_sites(site);
  }
  request.mutable_positions()->set_set(v1::POSITION_SET_PROMPT);
  request.add_candidates()->set_token_id(grid["token_a"]);
  request.add_candidates()->set_token_id(grid["token_b"]);
  request.set_each_head(true);
  const auto patch = [&](v1::PatchMethod method) {
    request.set_method(method);
    v1::PatchResponse response;
    const auto stub = server_->NewStub<v1::Interpretability>();
    auto context = server_->NewContext();
    const grpc::Status status = stub->Patch(context.get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  };
  const v1::PatchResponse same = patch(v1::PATCH_METHOD_ATTRIBUTION);
  for (const v1::PatchResult& result : same.results()) {
    EXPECT_NEAR(result.delta_after(), result.delta_before(), 1e-5);
  }
  v1::Intervention& nudge = *request.mutable_source()->add_interventions();
  nudge.set_site(v1::SITE_RESID_PRE);
  nudge.add_blocks(0);
  nudge.mutable_add()->set_coefficient(0.0005);
  v1::Tensor& vector = *nudge.mutable_add()->mutable_vector()->mutable_tensor();
  vector.set_dtype(v1::DTYPE_FLOAT32);
  vector.add_shape(64);
  for (int i = 0; i < 64; ++i) {
    const float value = i % 3 == 0 ? 1.0F : -0.5F;
    vector.mutable_data()->append(reinterpret_cast<const char*>(&value), 4);
  }
  const v1::PatchResponse exact = patch(v1::PATCH_METHOD_EXACT);
  const v1::PatchResponse sloped = patch(v1::PATCH_METHOD_ATTRIBUTION);
  ASSERT_EQ(exact.results_size(), sloped.results_size());
  double largest = 0.0;
  double apart = 0.0;
  for (int i = 0; i < exact.results_size(); ++i) {
    const v1::PatchResult& result = exact.results(i);
    EXPECT_EQ(result.place().DebugString(),
              sloped.results(i).place().DebugString());
    EXPECT_EQ(result.head(), sloped.results(i).head());
    largest = std::max(largest,
                       std::abs(result.delta_after() - result.delta_before()));
    apart = std::max(apart, std::abs(result.delta_after() -
                                     sloped.results(i).delta_after()));
  }
  EXPECT_GT(largest, 0.01);
  EXPECT_LT(apart, 0.03 * largest);

  *request.mutable_target() = request.source();
  const auto stub = server_->NewStub<v1::Interpretability>();
  auto context = server_->NewContext();
  v1::PatchResponse response;
  EXPECT_THAT(stub->Patch(context.get(), request, &response).error_message(),
              HasSubstr("no gradient through target's interventions"));
}

}  // namespace
}  // namespace dissonance
