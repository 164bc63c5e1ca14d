#include "src/lab/interp/patch_sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "src/base/json_lines.h"
#include "src/lab/interp/patch_map.h"
#include "tests/lab/interp/fake_interp.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;
using Outputs = std::map<std::string, std::string>;

constexpr int kConflicts = 2;

v1::JobSpec Spec() {
  v1::JobSpec spec;
  v1::PatchSweepSpec& sweep = *spec.mutable_patch_sweep();
  sweep.mutable_source()->set_model("models/m");
  sweep.mutable_target()->set_model("models/m");
  sweep.mutable_target()->set_adapter("models/m/adapters/a");
  sweep.set_data(SweepQuestions(kConflicts));
  sweep.set_data_name("questions.jsonl");
  sweep.set_scoring(v1::MCQ_SCORING_OPTION_TEXT);
  return spec;
}

// Two rows of two lengths, for which candidates are named.
v1::JobSpec RowsSpec() {
  v1::JobSpec spec = Spec();
  v1::PatchSweepSpec& sweep = *spec.mutable_patch_sweep();
  sweep.set_data(R"({"id": "a", "tokens": [1, 2, 3]})"
                 "\n"
                 R"({"id": "b", "tokens": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]})"
                 "\n");
  for (const int token : {7, 8}) {
    v1::Candidate& candidate = *sweep.add_candidates();
    candidate.set_name(token == 7 ? "true" : "false");
    candidate.set_token_id(token);
  }
  return spec;
}

absl::StatusOr<Outputs> RunOn(const v1::JobSpec& spec, FakeInterp& compute) {
  FakeJob job;
  PatchSweep kind(compute);
  absl::Status status = kind.Validate(spec);
  if (status.ok()) status = kind.Run(spec, job);
  if (!status.ok()) return status;
  return job.outputs;
}

Outputs Whole(const v1::JobSpec& spec) {
  FakeInterp compute;
  const absl::StatusOr<Outputs> outputs = RunOn(spec, compute);
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  return outputs.ok() ? *outputs : Outputs();
}

std::string Refusal(const v1::JobSpec& spec) {
  FakeInterp compute;
  const absl::Status status = PatchSweep(compute).Validate(spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(compute.call_count, 0);
  return std::string(status.message());
}

std::vector<nlohmann::json> Lines(const std::string& text) {
  absl::StatusOr<std::vector<JsonLine>> lines = ParseJsonLines(text, "output");
  EXPECT_TRUE(lines.ok()) << lines.status();
  std::vector<nlohmann::json> values;
  for (JsonLine& line : *lines) values.push_back(std::move(line.value));
  return values;
}

TEST(PatchSweepTest, PatchesTheQuestionsThatHaveATrueAndAFalseAnswer) {
  v1::JobSpec spec = Spec();
  spec.mutable_patch_sweep()->set_scoring(v1::MCQ_SCORING_LETTER_VARIANTS);
  FakeInterp compute;
  const auto outputs = RunOn(spec, compute);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  ASSERT_EQ(compute.patches.size(), static_cast<size_t>(kConflicts));
  const v1::PatchRequest& request = compute.patches[0];
  EXPECT_EQ(request.inputs(0).id(), "conflict 0");
  EXPECT_EQ(request.source().adapter(), "");
  EXPECT_EQ(request.target().adapter(), "models/m/adapters/a");
  EXPECT_EQ(request.candidates(0).name(), "true");
  EXPECT_EQ(request.candidates(1).name(), "false");
  EXPECT_THAT(
      request.sites(),
      ElementsAre(v1::SITE_RESID_POST, v1::SITE_ATTN_OUT, v1::SITE_MLP_OUT));
  EXPECT_THAT(outputs->at("map.csv"),
              StartsWith("direction,method,site,block,offset,effect,effect_n,"
                         "delta_after,flips,n\n"));
}

TEST(PatchSweepTest, AnswersThatBeginAlikeAreNotToldApart) {
  FakeInterp compute;
  // Both are " " first to a tokenizer of bytes.
  const absl::Status status = RunOn(Spec(), compute).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("both answers begin with the same token"));
}

TEST(PatchSweepTest, PositionsOfTheMapAreCountedFromTheEnd) {
  FakeInterp compute;
  const auto outputs = RunOn(RowsSpec(), compute);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  // The last 8, where there are as many.
  EXPECT_EQ(compute.patches[0].positions().range().begin(), 0);
  EXPECT_EQ(compute.patches[1].positions().range().begin(), 2);
  EXPECT_EQ(compute.patches[1].positions().range().end(), 10);
  const auto chart = nlohmann::json::parse(outputs->at("map.vl.json"));
  std::map<int, int> prompts_at;
  for (const nlohmann::json& cell : chart["data"]["values"]) {
    if (cell["block"] == 2 && cell["site"] == "resid_post") {
      prompts_at[cell["offset"].get<int>()] = cell["n"].get<int>();
    }
    if (cell["block"] == 2 && cell["offset"] == -1) {
      EXPECT_EQ(cell["effect"], 1.0);
      EXPECT_EQ(cell["flips"], 2);
      EXPECT_EQ(cell["delta_after"], 2.0);
    }
  }
  EXPECT_EQ(prompts_at.size(), 8U);
  EXPECT_EQ(prompts_at[-1], 2);
  EXPECT_EQ(prompts_at[-4], 1);
  const auto lines = Lines(outputs->at("patch.jsonl"));
  EXPECT_EQ(lines.size(), 3U * 3 * (3 + 8));
  EXPECT_EQ(lines[0]["id"], "a");
  EXPECT_EQ(lines[0]["offset"], -3);
  EXPECT_EQ(lines[0]["delta_before"], -2.0);
}

TEST(PatchSweepTest, BothDirectionsHaveAMapEach) {
  v1::JobSpec spec = RowsSpec();
  spec.mutable_patch_sweep()->set_both_directions(true);
  FakeInterp compute;
  const auto outputs = RunOn(spec, compute);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  ASSERT_EQ(compute.patches.size(), 4U);
  EXPECT_EQ(compute.patches[1].source().adapter(), "models/m/adapters/a");
  EXPECT_THAT(outputs->at("map.csv"), HasSubstr("\ntarget_to_source,exact"));
  const auto manifest = nlohmann::json::parse(outputs->at("manifest.json"));
  EXPECT_EQ(manifest["target"]["provenance"]["adapter_digest"],
            "sha256:adapter");
  EXPECT_EQ(manifest["source"]["provenance"]["adapter_digest"], "");
}

TEST(PatchSweepTest, TheApproximationIsComparedWithTheExactEffects) {
  v1::JobSpec spec = RowsSpec();
  EXPECT_FALSE(Whole(spec).contains("attribution.json"));
  spec.mutable_patch_sweep()->set_attribution(v1::ATTRIBUTION_USE_COMPARE);
  const Outputs compared = Whole(spec);
  const auto report =
      nlohmann::json::parse(compared.at("attribution.json"))["agreement"];
  ASSERT_EQ(report.size(), 3U);
  EXPECT_EQ(report[0]["n"], 3 * (3 + 8));
  EXPECT_NEAR(report[0]["pearson"].get<double>(), 1, 1e-12);
  EXPECT_NEAR(report[0]["spearman"].get<double>(), 1, 1e-12);
  spec.mutable_patch_sweep()->set_attribution(v1::ATTRIBUTION_USE_ALONE);
  FakeInterp compute;
  const auto alone = RunOn(spec, compute);
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_EQ(compute.patches.size(), 2U);
  EXPECT_EQ(compute.patches[0].method(), v1::PATCH_METHOD_ATTRIBUTION);
  EXPECT_THAT(alone->at("map.csv"), HasSubstr(",attribution,"));
}

TEST(PatchSweepTest, HeadsHaveAMapOfTheirOwn) {
  v1::JobSpec spec = RowsSpec();
  EXPECT_FALSE(Whole(spec).contains("heads.csv"));
  spec.mutable_patch_sweep()->set_each_head(true);
  FakeInterp compute;
  const auto outputs = RunOn(spec, compute);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_TRUE(compute.patches[0].each_head());
  EXPECT_THAT(outputs->at("heads.csv"), HasSubstr(",z,2,1,-1,"));
  EXPECT_THAT(outputs->at("map.csv"), ::testing::Not(HasSubstr(",z,")));
  const auto chart = nlohmann::json::parse(outputs->at("heads.vl.json"));
  EXPECT_EQ(chart["data"]["values"].size(), 2U * FakeInterp::kBlocks);
}

TEST(PatchSweepTest, ResumedAfterEveryCallItGivesTheSameBytes) {
  v1::JobSpec spec = RowsSpec();
  spec.mutable_patch_sweep()->set_both_directions(true);
  const Outputs whole = Whole(spec);
  FakeInterp compute;
  // Both runs of a prompt have to succeed in one go.
  compute.fails = [](int call) { return call % 3 == 1; };
  FakeJob job;
  int attempts = 0;
  absl::Status status;
  do {
    PatchSweep kind(compute);
    status = kind.Run(spec, job);
    ASSERT_TRUE(status.ok() || absl::IsUnavailable(status)) << status;
  } while (!status.ok() && ++attempts < 100);
  EXPECT_GT(attempts, 0);
  EXPECT_EQ(job.outputs, whole);
}

TEST(PatchSweepTest, AReplacedAdapterEndsAResumedJob) {
  FakeInterp compute;
  compute.fails = [](int call) { return call == 1; };
  FakeJob job;
  PatchSweep kind(compute);
  ASSERT_TRUE(absl::IsUnavailable(kind.Run(RowsSpec(), job)));
  compute.adapter_digest = "sha256:other";
  const absl::Status status = kind.Run(RowsSpec(), job);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("models/m/adapters/a changed after 1 records"));
}

TEST(PatchSweepTest, WhatCannotBePatchedIsRefusedByName) {
  const auto refusal = [](auto&& change) {
    v1::JobSpec spec = RowsSpec();
    change(*spec.mutable_patch_sweep());
    return Refusal(spec);
  };
  EXPECT_THAT(refusal([](auto& s) { s.mutable_target()->clear_adapter(); }),
              HasSubstr("target: is the source itself"));
  EXPECT_THAT(refusal([](auto& s) { s.clear_candidates(); }),
              HasSubstr("candidates: expected two, whose logits are compared, "
                        "found 0"));
  EXPECT_THAT(
      refusal([](auto& s) { s.mutable_candidates(0)->set_token_id(8); }),
      HasSubstr("candidates: both are the same token"));
  EXPECT_THAT(refusal([](auto& s) { s.add_blocks(3); }),
              HasSubstr("blocks: models/m has blocks 0 to 2, not 3"));
  EXPECT_THAT(refusal([](auto& s) { s.add_sites(v1::SITE_LOGITS); }),
              HasSubstr("sites: logits can't be patched"));
  EXPECT_THAT(refusal([](auto& s) {
                s.mutable_positions()->set_set(v1::POSITION_SET_GENERATED);
              }),
              HasSubstr("positions: only positions of the prompt"));
  EXPECT_THAT(refusal([](auto& s) {
                s.mutable_source()->add_interventions()->mutable_zero();
                s.set_attribution(v1::ATTRIBUTION_USE_COMPARE);
              }),
              HasSubstr("attribution: not for variants with interventions"));
  EXPECT_THAT(
      refusal([](auto& s) {
        s.set_data(SweepQuestions(1).substr(SweepQuestions(1).find("\n") + 1));
        s.clear_candidates();
      }),
      HasSubstr("data: has no question with a true and a false"));
}

TEST(PatchMapTest, CorrelationsAreThoseOfTheNumbersAndOfTheirRanks) {
  const std::vector<double> a = {1, 2, 3, 4};
  const std::vector<double> b = {1, 4, 9, 16};
  EXPECT_NEAR(*Pearson(a, b), 0.9843740386976972, 1e-12);
  EXPECT_NEAR(*Spearman(a, b), 1, 1e-12);
  // Equal numbers share a rank: scipy.stats.spearmanr gives this.
  EXPECT_NEAR(*Spearman(a, std::vector<double>{1, 1, 2, 0}),
              -0.31622776601683794, 1e-12);
  EXPECT_FALSE(Pearson(a, std::vector<double>{2, 2, 2, 2}).has_value());
  EXPECT_FALSE(Spearman({}, {}).has_value());
}

}  // namespace
}  // namespace dissonance
