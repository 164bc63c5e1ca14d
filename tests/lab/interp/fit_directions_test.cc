#include "src/lab/interp/fit_directions.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "src/lab/tensors/safetensors_reader.h"
#include "tests/lab/interp/fake_network.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kRows[] =
    R"({"id": "a", "prompt": "x", "labels": {"category": "conflict"}})"
    "\n"
    R"({"id": "b", "prompt": "y", "labels": {"category": "control"}})"
    "\n"
    R"({"id": "c", "prompt": "z"})"
    "\n";

v1::JobSpec Spec() {
  v1::JobSpec spec;
  v1::FitDirectionsSpec& fit = *spec.mutable_fit_directions();
  *fit.mutable_variants() = BaseAndAdapter();
  fit.set_method(v1::DIRECTION_METHOD_VARIANT_DIFFERENCE);
  fit.mutable_target()->set_source(v1::LABEL_SOURCE_CATEGORY_CONFLICT);
  fit.set_data(kRows);
  fit.set_data_name("rows.jsonl");
  return spec;
}

std::string Refusal(const v1::JobSpec& spec) {
  FakeNetwork network;
  const absl::Status status = FitDirections(network).Validate(spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(FitDirectionsTest, WritesADirectionOfTheRowsOfItsClasses) {
  FakeNetwork network;
  FitDirections kind(network);
  ASSERT_TRUE(kind.Validate(Spec()).ok());
  FakeJob job;
  ASSERT_TRUE(kind.Run(Spec(), job).ok());
  ASSERT_EQ(network.fitted.size(), 1U);
  EXPECT_THAT(network.fitted[0].labels().classes(), ElementsAre(1, 0, -1));
  EXPECT_EQ(network.fitted[0].method(),
            v1::DIRECTION_METHOD_VARIANT_DIFFERENCE);
  const auto file =
      TensorFile::Parse(job.outputs.at("direction.safetensors"), "file");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->names(),
              ElementsAre("blocks.0.resid_post", "blocks.1.resid_post"));
  const auto summary = nlohmann::json::parse(job.outputs.at("summary.json"));
  EXPECT_EQ(summary["method"], "variant_difference");
  EXPECT_EQ(summary["places"]["blocks.1.resid_post"]["norm"], 2.5);
  EXPECT_EQ(summary["source"]["row_counts"][0], 3);
  EXPECT_THAT(job.run_outputs, ElementsAre("manifest.json"));
}

TEST(FitDirectionsTest, GoesOnFromItsRecord) {
  FakeNetwork network;
  FitDirections kind(network);
  FakeJob whole;
  ASSERT_TRUE(kind.Run(Spec(), whole).ok());
  FakeJob job;
  job.writes_left = 2;  // the record, and a file
  EXPECT_FALSE(kind.Run(Spec(), job).ok());
  job.writes_left.reset();
  job.stored() = whole.job();
  ASSERT_TRUE(kind.Run(Spec(), job).ok());
  EXPECT_EQ(network.fitted.size(), 2U) << "not asked again";
  EXPECT_EQ(job.outputs, whole.outputs);
}

TEST(FitDirectionsTest, RefusesWhatHasNoDirection) {
  v1::JobSpec spec = Spec();
  spec.mutable_fit_directions()->set_method(v1::DIRECTION_METHOD_GIVEN);
  EXPECT_THAT(Refusal(spec), HasSubstr("fit_directions.method: nothing"));
  spec = Spec();
  spec.mutable_fit_directions()->clear_method();
  EXPECT_THAT(Refusal(spec), HasSubstr("fit_directions.variants: this method"));
  spec.mutable_fit_directions()->mutable_variants()->RemoveLast();
  spec.mutable_fit_directions()->clear_target();
  EXPECT_THAT(Refusal(spec), HasSubstr("needs rows of two classes"));
  spec = Spec();
  spec.mutable_fit_directions()->mutable_target()->set_source(
      v1::LABEL_SOURCE_ANSWERED_FALSE);
  EXPECT_THAT(Refusal(spec), HasSubstr("fit_directions.target.source: "));
  spec = Spec();
  v1::LabelRule& rule = *spec.mutable_fit_directions()->mutable_target();
  rule.set_source(v1::LABEL_SOURCE_FIELD);
  rule.set_field("none");
  EXPECT_THAT(Refusal(spec), HasSubstr("no row has a label \"none\""));
  spec = Spec();
  spec.mutable_fit_directions()->set_data("{}");
  EXPECT_THAT(Refusal(spec), HasSubstr("rows.jsonl:1"));
}

}  // namespace
}  // namespace dissonance
