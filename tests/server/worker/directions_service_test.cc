// Directions, meters and patches of single heads over a real connection.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/server/worker/probes_fixture.h"

namespace dissonance {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class DirectionsServiceTest : public ProbesFixture {
 protected:
  static grpc::Status Apply(const v1::ApplyProbeRequest& request,
                            v1::ApplyProbeResponse& response) {
    grpc::ClientContext context;
    return v1::Probes::NewStub(parts_->channel)
        ->ApplyProbe(&context, request, &response);
  }
  static grpc::Status FitOne(const v1::FitDirectionsRequest& request,
                             v1::FitDirectionsResponse& response) {
    grpc::ClientContext context;
    return v1::Probes::NewStub(parts_->channel)
        ->FitDirections(&context, request, &response);
  }
  static v1::FitDirectionsRequest Difference() {
    v1::FitDirectionsRequest request;
    request.add_variants()->set_model(kModel);
    for (int i = 0; i < kInputs; ++i) {
      *request.add_inputs() = Prompt(i);
      request.mutable_labels()->add_classes(i % 2);
    }
    return request;
  }
};

TEST_F(DirectionsServiceTest, FitsDirectionsAtEveryPlace) {
  v1::FitDirectionsRequest request = Difference();
  request.add_sites(v1::SITE_RESID_POST);
  request.add_sites(v1::SITE_Z);
  v1::FitDirectionsResponse response;
  const grpc::Status status = FitOne(request, response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.vectors_size(), 12);
  EXPECT_THAT(response.vectors(0).vector().shape(), ElementsAre(kWidth));
  EXPECT_THAT(response.vectors(6).vector().shape(), ElementsAre(4, 32));
  EXPECT_THAT(response.row_counts(), ElementsAre(12, 12));
  EXPECT_EQ(response.provenance_size(), 1);
  // Class 1 lies further along it than class 0 by its norm.
  v1::ApplyProbeRequest apply;
  *apply.mutable_variants() = request.variants();
  *apply.mutable_inputs() = request.inputs();
  for (const int i : {3, 9}) {
    v1::Meter& meter = *apply.add_meters();
    *meter.mutable_place() = response.vectors(i).place();
    *meter.mutable_vector()->mutable_tensor() = response.vectors(i).vector();
  }
  v1::ApplyProbeResponse readings;
  ASSERT_TRUE(Apply(apply, readings).ok());
  ASSERT_EQ(readings.readings_size(), kInputs);
  for (const int m : {0, 1}) {
    double gap = 0;
    for (const v1::ProbeReading& own : readings.readings()) {
      gap += (own.row().input_index() % 2 == 1 ? 1 : -1) * own.projections(m) /
             (kInputs / 2);
    }
    EXPECT_NEAR(gap, response.vectors(m == 0 ? 3 : 9).norm(), 1e-4);
  }
}

TEST_F(DirectionsServiceTest, FitsDirectionsOfPairsAndOfVariants) {
  v1::FitDirectionsRequest request = Difference();
  request.set_method(v1::DIRECTION_METHOD_CONTRAST_PCA);
  v1::FitDirectionsResponse response;
  grpc::Status status = FitOne(request, response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(response.row_counts(), ElementsAre(12));
  EXPECT_EQ(response.vectors_size(), 6);
  request.set_method(v1::DIRECTION_METHOD_VARIANT_DIFFERENCE);
  request.clear_labels();
  request.add_variants()->set_model(kModel);
  request.mutable_variants(1)->set_adapter(kAdapter);
  response.Clear();
  status = FitOne(request, response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(response.row_counts(), ElementsAre(kInputs, kInputs));
  EXPECT_EQ(response.provenance_size(), 2);
}

TEST_F(DirectionsServiceTest, RefusesDirectionsThatCanNotBe) {
  v1::FitDirectionsResponse response;
  const auto refused =
      [&](const std::string& text,
          const std::function<void(v1::FitDirectionsRequest&)>& spoil) {
        v1::FitDirectionsRequest request = Difference();
        spoil(request);
        const grpc::Status status = FitOne(request, response);
        EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
        EXPECT_THAT(status.error_message(), HasSubstr(text));
      };
  refused("no input is of class 1", [](auto& r) {
    for (int i = 0; i < kInputs; ++i) r.mutable_labels()->set_classes(i, 0);
  });
  refused("inputs[3] (q3) is of class 2",
          [](auto& r) { r.mutable_labels()->set_classes(3, 2); });
  refused("expected one per input, which are 24, found 0",
          [](auto& r) { r.clear_labels(); });
  refused("variants: expected 2", [](auto& r) {
    r.set_method(v1::DIRECTION_METHOD_VARIANT_DIFFERENCE);
  });
  refused("found DIRECTION_METHOD_PROBE",
          [](auto& r) { r.set_method(v1::DIRECTION_METHOD_PROBE); });
  refused("groups have inputs of both classes", [](auto& r) {
    r.set_method(v1::DIRECTION_METHOD_CONTRAST_PCA);
    for (auto& input : *r.mutable_inputs()) input.clear_group();
  });
  // The base model is no other than itself.
  refused("resid_post of block 0", [](auto& r) {
    r.set_method(v1::DIRECTION_METHOD_VARIANT_DIFFERENCE);
    *r.add_variants() = r.variants(0);
  });
}

TEST_F(DirectionsServiceTest, MetersChangeNoToken) {
  v1::GenerateRequest request = Continue(12);
  request.set_sample_count(3);
  request.mutable_options()->mutable_sampling()->set_temperature(1.0);
  const std::vector<Sample> plain = Generate(request);
  *request.add_meters() = MeterAt(v1::SITE_RESID_POST, 3, 1);
  const std::vector<Sample> metered = Generate(request);
  for (size_t s = 0; s < plain.size(); ++s) {
    EXPECT_EQ(plain[s].tokens, metered[s].tokens);
    EXPECT_EQ(plain[s].logprobs, metered[s].logprobs);
    EXPECT_EQ(plain[s].text, metered[s].text);
    EXPECT_EQ(plain[s].end.finish_reason(), metered[s].end.finish_reason());
    EXPECT_EQ(plain[s].end.token_count(), metered[s].end.token_count());
    EXPECT_TRUE(plain[s].readings.empty());
    ASSERT_EQ(metered[s].readings.size(), metered[s].tokens.size());
  }
}

TEST_F(DirectionsServiceTest, MetersReadWhatApplyProbeReads) {
  v1::GenerateRequest request = Continue(10);
  request.set_echo(true);
  *request.add_meters() = MeterAt(v1::SITE_RESID_POST, 3, 1);
  *request.add_meters() = MeterAt(v1::SITE_Z, 2, 2);
  *request.add_meters() = MeterAt(v1::SITE_RESID_POST, 3, 3);
  const Sample sample = Generate(request).front();
  ASSERT_EQ(sample.readings.size(), sample.tokens.size());
  ASSERT_EQ(sample.prompt_readings.size(), sample.prompt.size());
  v1::ApplyProbeRequest apply;
  *apply.mutable_variants() = request.variants();
  *apply.mutable_meters() = request.meters();
  apply.mutable_positions()->set_set(v1::POSITION_SET_ALL);
  auto& tokens = *apply.add_inputs()->mutable_tokens()->mutable_ids();
  tokens.Add(sample.prompt.begin(), sample.prompt.end());
  tokens.Add(sample.tokens.begin(), sample.tokens.end());
  v1::ApplyProbeResponse response;
  const grpc::Status status = Apply(apply, response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.readings_size(), tokens.size());
  const auto prompt = static_cast<int>(sample.prompt.size());
  for (int position = 0; position < response.readings_size(); ++position) {
    const v1::ProbeReading& own = response.readings(position);
    EXPECT_EQ(own.row().position(), position);
    EXPECT_EQ(own.row().token_id(), tokens[position]);
    const v1::MeterReading& read =
        position < prompt
            ? sample.prompt_readings[static_cast<size_t>(position)]
            : sample.readings[static_cast<size_t>(position - prompt)];
    EXPECT_EQ(read.token_index(),
              position < prompt ? position : position - prompt);
    for (int m = 0; m < 3; ++m) {
      EXPECT_NEAR(read.projections(m), own.projections(m), 1e-4);
    }
  }
}

TEST_F(DirectionsServiceTest, AStoppedSampleHasAReadingOfItsLastTokenToo) {
  v1::GenerateRequest request = Continue(12);
  const Sample plain = Generate(request).front();
  request.mutable_options()->add_stop_token_ids(plain.tokens[4]);
  *request.add_meters() = MeterAt(v1::SITE_RESID_POST, 5, 1);
  const Sample stopped = Generate(request).front();
  EXPECT_EQ(stopped.end.finish_reason(), v1::FINISH_REASON_STOP_TOKEN);
  EXPECT_EQ(stopped.readings.size(), stopped.tokens.size());
  request.mutable_options()->set_max_new_token_count(1);
  EXPECT_EQ(Generate(request).front().readings.size(), 1U);
}

TEST_F(DirectionsServiceTest, NamesTheMeterThatIsWrong) {
  const auto refused = [](const std::string& text,
                          const std::function<void(v1::Meter&)>& spoil) {
    v1::ApplyProbeRequest request;
    request.add_variants()->set_model(kModel);
    *request.add_inputs() = Prompt(0);
    *request.add_meters() = MeterAt(v1::SITE_RESID_POST, 3, 1);
    *request.add_meters() = MeterAt(v1::SITE_RESID_POST, 3, 2);
    spoil(*request.mutable_meters(1));
    v1::ApplyProbeResponse response;
    const grpc::Status status = Apply(request, response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(),
                HasSubstr("meters[1] (meter2): " + text));
  };
  refused("place: block: expected",
          [](auto& m) { m.mutable_place()->clear_block(); });
  refused("place: ", [](auto& m) { m.mutable_place()->set_block(6); });
  refused("vector: it has shape [3], resid_post of this model has 128",
          [](auto& m) {
            *m.mutable_vector()->mutable_tensor() = Vector({1, 2, 3});
          });
  refused("vector: it has no length", [](auto& m) {
    *m.mutable_vector()->mutable_tensor() =
        Vector(std::vector<float>(kWidth, 0));
  });
  refused("vector: it holds NaN or infinity", [](auto& m) {
    *m.mutable_vector()->mutable_tensor() = Vector(
        std::vector<float>(kWidth, std::numeric_limits<float>::infinity()));
  });
  refused("vector.direction: directions/truth is a name", [](auto& m) {
    m.mutable_vector()->set_direction("directions/truth");
  });
}

TEST_F(DirectionsServiceTest, PatchesHeadsOneByOne) {
  v1::PatchRequest request;
  request.mutable_source()->set_model(kModel);
  request.mutable_source()->set_adapter(kAdapter);
  request.mutable_target()->set_model(kModel);
  *request.add_inputs() = Prompt(0);
  request.add_sites(v1::SITE_Z);
  request.add_sites(v1::SITE_V);
  request.add_sites(v1::SITE_RESID_POST);
  request.add_blocks(3);
  for (const int token : {5, 9}) request.add_candidates()->set_token_id(token);
  const auto patch = [&](v1::PatchResponse& response) {
    grpc::ClientContext context;
    return v1::Interpretability::NewStub(parts_->channel)
        ->Patch(&context, request, &response);
  };
  v1::PatchResponse whole;
  ASSERT_TRUE(patch(whole).ok());
  ASSERT_EQ(whole.results_size(), 3);
  EXPECT_FALSE(whole.results(0).has_head());
  request.set_each_head(true);
  v1::PatchResponse heads;
  ASSERT_TRUE(patch(heads).ok());
  // 4 heads, 2 key/value heads, and a site without any.
  ASSERT_EQ(heads.results_size(), 7);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(heads.results(i).place().site(), i < 4 ? v1::SITE_Z : v1::SITE_V);
    EXPECT_EQ(heads.results(i).head(), i < 4 ? i : i - 4);
    EXPECT_EQ(heads.results(i).delta_before(), whole.results(0).delta_before());
  }
  EXPECT_FALSE(heads.results(6).has_head());
  EXPECT_EQ(heads.results(6).delta_after(), whole.results(2).delta_after());
  // A head alone moves less than all of them, and each another way.
  EXPECT_NE(heads.results(0).delta_after(), whole.results(0).delta_after());
  EXPECT_NE(heads.results(0).delta_after(), heads.results(1).delta_after());
  // To first order heads add up.
  request.set_method(v1::PATCH_METHOD_ATTRIBUTION);
  v1::PatchResponse sloped;
  ASSERT_TRUE(patch(sloped).ok());
  ASSERT_EQ(sloped.results_size(), 7);
  request.set_each_head(false);
  v1::PatchResponse together;
  ASSERT_TRUE(patch(together).ok());
  double sum = 0.0;
  for (int i = 0; i < 4; ++i) {
    sum += sloped.results(i).delta_after() - sloped.results(i).delta_before();
  }
  EXPECT_NEAR(
      sum,
      together.results(0).delta_after() - together.results(0).delta_before(),
      1e-5);
  EXPECT_NE(sum, 0.0);
}

}  // namespace
}  // namespace dissonance
