#include "src/compute/interp/intervention.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

using testing::HasSubstr;
using Op = Intervention::Op;

class InterventionTest : public testing::Test {
 protected:
  static std::shared_ptr<const Model> Load(const std::string& family) {
    return LoadGoldenModel(ReadGolden("models/" + family).directory + "/model",
                           at::kFloat);
  }

  static std::string ErrorOf(const Model& model, Intervention own) {
    const auto ready = PrepareInterventions(model, {std::move(own)});
    if (ready.ok()) return "no error";
    EXPECT_EQ(ready.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(ready.status().message());
  }
};

TEST_F(InterventionTest, NamesWhatTheModelHasNot) {
  const auto llama = Load("llama");
  const at::Tensor vector = at::ones({64});
  EXPECT_THAT(ErrorOf(*llama, {.block = 4, .vector = vector}),
              HasSubstr("interventions[0]: block 4 does not exist; the model "
                        "has blocks 0 to 3"));
  EXPECT_THAT(ErrorOf(*llama, {.head = 0, .vector = vector}),
              HasSubstr("resid_post has no heads"));
  EXPECT_THAT(
      ErrorOf(*llama, {.site = Site::kZ, .head = 9, .vector = at::ones({16})}),
      HasSubstr("head 9 does not exist"));
  EXPECT_THAT(ErrorOf(*llama, {.vector = at::ones({63})}),
              HasSubstr("shape [63], resid_post of this model asks for [64]"));
  EXPECT_THAT(ErrorOf(*llama, {}), HasSubstr("asks for [64]"));
  EXPECT_THAT(
      ErrorOf(*llama, {.vector = at::full(
                           {64}, std::numeric_limits<double>::infinity())}),
      HasSubstr("NaN or infinity"));
  EXPECT_THAT(
      ErrorOf(*llama, {.op = Op::kProjectOut, .vector = at::zeros({64})}),
      HasSubstr("no length"));
  EXPECT_THAT(
      ErrorOf(*llama, {.positions = Positions::Range(3, 3), .vector = vector}),
      HasSubstr("range"));
  EXPECT_THAT(
      ErrorOf(*Load("gpt_neox"), {.site = Site::kResidMid, .vector = vector}),
      HasSubstr("have no resid_mid"));
  EXPECT_THAT(
      ErrorOf(*Load("mixtral"), {.site = Site::kMlpHidden, .vector = vector}),
      HasSubstr("experts"));
}

TEST_F(InterventionTest, LeavesOutWhatChangesNothing) {
  const auto model = Load("llama");
  const auto ready = PrepareInterventions(
      *model, {{.op = Op::kAdd, .vector = at::ones({64}), .coefficient = 0.0},
               {.op = Op::kScale, .coefficient = 1.0},
               {.op = Op::kScale, .coefficient = 0.5}});
  ASSERT_TRUE(ready.ok()) << ready.status();
  ASSERT_EQ((*ready)->size(), 1);
  EXPECT_EQ((*ready)->front().coefficient, 0.5);
}

TEST(PositionsTest, TellPromptAndGeneratedApart) {
  const auto contains = [](Positions::Kind kind, int64_t position) {
    return Positions::Of(kind).Contains(position, 5);
  };
  using enum Positions::Kind;
  EXPECT_TRUE(contains(kAll, 9));
  EXPECT_TRUE(contains(kPrompt, 4));
  EXPECT_FALSE(contains(kPrompt, 5));
  EXPECT_TRUE(contains(kLastPrompt, 4));
  EXPECT_FALSE(contains(kLastPrompt, 3));
  EXPECT_FALSE(contains(kGenerated, 4));
  EXPECT_TRUE(contains(kGenerated, 5));
  const Positions range = Positions::Range(2, 4);
  EXPECT_FALSE(range.Contains(1, 5));
  EXPECT_TRUE(range.Contains(3, 5));
  EXPECT_FALSE(range.Contains(4, 5));
  const Positions indices = Positions::Indices({1, 7});
  EXPECT_TRUE(indices.Contains(7, 5));
  EXPECT_FALSE(indices.Contains(2, 5));
}

}  // namespace
}  // namespace dissonance
