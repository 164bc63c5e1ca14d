// What a sweep's samples say of their tokens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "src/base/json_lines.h"
#include "src/lab/interp/steering_record.h"
#include "src/lab/interp/steering_sweep.h"
#include "tests/lab/interp/fake_interp.h"

namespace dissonance {
namespace {

v1::JobSpec Spec() {
  v1::JobSpec spec;
  v1::SteeringSweepSpec& sweep = *spec.mutable_steering_sweep();
  sweep.mutable_variant()->set_model("models/m");
  sweep.mutable_variant()->set_adapter("models/m/adapters/a");
  sweep.set_data(SweepQuestions(3));
  sweep.set_scoring(v1::MCQ_SCORING_OPTION_TEXT);
  v1::SweepDirection& direction = *sweep.add_directions();
  direction.set_label("belief");
  *direction.mutable_vector()->mutable_tensor() = Axis(0);
  return spec;
}

TEST(SteeringSamplesTest, SamplesHaveEachTokensProjectionOnTheBestDirection) {
  FakeInterp compute;
  FakeJob job;
  const absl::Status status = SteeringSweep(compute).Run(Spec(), job);
  ASSERT_TRUE(status.ok()) << status;
  const v1::GenerateRequest& request = compute.generated.back();
  ASSERT_EQ(request.meters_size(), 1);
  const v1::Meter& meter = request.meters(0);
  EXPECT_EQ(meter.place().site(), v1::SITE_RESID_POST);
  EXPECT_EQ(meter.place().block(), 1);
  // The unit vector that is added too.
  EXPECT_EQ(
      meter.vector().tensor().data(),
      request.variants(1).interventions(0).add().vector().tensor().data());
  const auto lines =
      ParseJsonLines(job.outputs.at("samples.jsonl"), "samples.jsonl");
  ASSERT_TRUE(lines.ok()) << lines.status();
  ASSERT_FALSE(lines->empty());
  for (const JsonLine& line : *lines) {
    const nlohmann::json& sample = line.value;
    for (const char* name : {"unsteered", "steered"}) {
      const double first = std::string(name) == "steered" ? 10 : 0;
      std::string text;
      double expected = first;
      for (const auto& token : sample[std::string(name) + "_tokens"]) {
        text += token["text"].get<std::string>();
        EXPECT_EQ(token["projection"], expected++);
      }
      EXPECT_EQ(text, sample[name]);
      // "answer 0", the end token.
      EXPECT_EQ(expected, first + 9);
    }
  }
}

TEST(SteeringSamplesTest, AVectorForEveryHeadAlikeIsNoMeter) {
  // It is as long as one head's rows, not as all heads'.
  v1::JobSpec spec = Spec();
  spec.mutable_steering_sweep()->set_site(v1::SITE_Z);
  FakeInterp compute;
  FakeJob job;
  const absl::Status status = SteeringSweep(compute).Run(spec, job);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_FALSE(compute.generated.empty());
  EXPECT_TRUE(compute.generated.back().meters().empty());
  EXPECT_THAT(job.outputs.at("samples.jsonl"),
              testing::HasSubstr("\"projection\":null"));
}

TEST(SteeringSamplesTest,
     SamplesOfBeforeTokensWereKeptAreReadAndWrittenAsTheyWere) {
  const std::string old =
      R"({"samples":[{"id":"q","steered":"s","unsteered":"u"}]})"
      "\n";
  const auto samples = DecodeSamples(old, "record 1");
  ASSERT_TRUE(samples.ok()) << samples.status();
  EXPECT_TRUE(samples->front().steered_tokens.empty());
  EXPECT_EQ(EncodeSamples(*samples), old);
  const std::vector<SteeringSample> kept = {
      {.id = "q",
       .unsteered = "u",
       .steered = "s",
       .unsteered_tokens = {{"u", 0.1}, {"", std::nullopt}},
       .steered_tokens = {{"s", -1.0 / 3}}}};
  const auto read = DecodeSamples(EncodeSamples(kept), "record 1");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->front().unsteered_tokens, kept.front().unsteered_tokens);
  EXPECT_EQ(read->front().steered_tokens, kept.front().steered_tokens);
}

}  // namespace
}  // namespace dissonance
