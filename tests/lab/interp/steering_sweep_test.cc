#include "src/lab/interp/steering_sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "src/base/json_lines.h"
#include "tests/lab/interp/fake_interp.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using Outputs = std::map<std::string, std::string>;

constexpr int kConflicts = 3;

v1::JobSpec Spec() {
  v1::JobSpec spec;
  v1::SteeringSweepSpec& sweep = *spec.mutable_steering_sweep();
  sweep.mutable_variant()->set_model("models/m");
  sweep.mutable_variant()->set_adapter("models/m/adapters/a");
  sweep.set_data(SweepQuestions(kConflicts));
  sweep.set_data_name("questions.jsonl");
  sweep.set_scoring(v1::MCQ_SCORING_OPTION_TEXT);
  v1::SweepDirection& direction = *sweep.add_directions();
  direction.set_label("belief");
  *direction.mutable_vector()->mutable_tensor() = Axis(0);
  return spec;
}

absl::StatusOr<Outputs> RunOn(const v1::JobSpec& spec, FakeInterp& compute,
                              int sequences_per_request = 256) {
  FakeJob job;
  SteeringSweep kind(compute, {.sequences_per_request = sequences_per_request});
  absl::Status status = kind.Validate(spec);
  if (status.ok()) status = kind.Run(spec, job);
  if (!status.ok()) return status;
  EXPECT_EQ(job.stored().progress().total_count(), std::ssize(job.items));
  return job.outputs;
}

Outputs Whole(const v1::JobSpec& spec) {
  FakeInterp compute;
  const absl::StatusOr<Outputs> outputs = RunOn(spec, compute);
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  return outputs.ok() ? *outputs : Outputs();
}

// What is wrong with a spec, seen before it is acknowledged.
std::string Refusal(const v1::JobSpec& spec) {
  FakeInterp compute;
  const absl::Status status = SteeringSweep(compute).Validate(spec);
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

TEST(SteeringSweepTest, FindsTheSettingThatTakesTheBeliefBack) {
  const Outputs outputs = Whole(Spec());
  std::vector<std::string> names;
  for (const auto& [name, contents] : outputs) names.push_back(name);
  EXPECT_THAT(names, UnorderedElementsAre("steering.jsonl", "steering.csv",
                                          "steering.vl.json", "null.csv",
                                          "null.vl.json", "samples.jsonl",
                                          "summary.json", "manifest.json"));
  const auto summary = nlohmann::json::parse(outputs.at("summary.json"));
  EXPECT_EQ(summary["unsteered"]["belief_rate"], 1.0);
  EXPECT_EQ(summary["unsteered"]["control_accuracy"], 1.0);
  const nlohmann::json& best = summary["best"];
  EXPECT_EQ(best["block"], 1);
  EXPECT_EQ(best["direction"], "belief");
  EXPECT_EQ(best["returned_share"], 1.0);
  // -5 of the grid, halved twice: it takes more than -1.
  EXPECT_EQ(best["coefficient"], -1.25);
  EXPECT_EQ(best["phase"], "refined");
  EXPECT_EQ(summary["minimal_effective"], best);
  EXPECT_EQ(summary["questions"]["belief_n"], kConflicts);
  EXPECT_EQ(summary["questions"]["control_n"], 2 * kConflicts);
}

TEST(SteeringSweepTest, SaysWhatTheLineUnsteeredIs) {
  EXPECT_TRUE(
      nlohmann::json::parse(Whole(Spec()).at("summary.json"))["interventions"]
          .empty());
  v1::JobSpec spec = Spec();
  v1::Intervention& own =
      *spec.mutable_steering_sweep()->mutable_variant()->add_interventions();
  own.set_site(v1::SITE_RESID_POST);
  own.add_blocks(2);
  own.mutable_add()->set_coefficient(0.5);
  own.mutable_add()->mutable_vector()->set_label("directions/truth");
  *own.mutable_add()->mutable_vector()->mutable_tensor() = Axis(2);
  const auto summary = nlohmann::json::parse(Whole(spec).at("summary.json"));
  EXPECT_EQ(summary["variant"], "models/m/adapters/a");
  ASSERT_EQ(summary["interventions"].size(), 1U);
  EXPECT_EQ(summary["interventions"][0]["text"],
            "steer truth@resid_post.2=0.5");
}

TEST(SteeringSweepTest, ConflictQuestionsWithoutAFalseAnswerAreTold) {
  v1::JobSpec spec = Spec();
  std::string& data = *spec.mutable_steering_sweep()->mutable_data();
  const size_t at = data.find("false_answer");
  data.replace(at, 12, "false_anwser");
  FakeInterp compute;
  FakeJob job;
  ASSERT_TRUE(SteeringSweep(compute).Run(spec, job).ok());
  const auto summary = nlohmann::json::parse(job.outputs.at("summary.json"));
  const std::string told = summary["questions"]["left_out"];
  EXPECT_THAT(told, HasSubstr("1 of 3 conflict questions left out"));
  EXPECT_THAT(job.log, ::testing::Contains(told));
}

TEST(SteeringSweepTest, TheStepsThatAreLeftNeverBecomeMore) {
  v1::JobSpec spec = Spec();
  spec.mutable_steering_sweep()->set_refine_count(3);
  FakeInterp compute;
  FakeJob job;
  ASSERT_TRUE(
      SteeringSweep(compute, {.sequences_per_request = 9}).Run(spec, job).ok());
  ASSERT_GT(job.total_counts.size(), 30U) << "one setting at a time";
  EXPECT_TRUE(
      std::is_sorted(job.total_counts.rbegin(), job.total_counts.rend()))
      << ::testing::PrintToString(job.total_counts);
}

TEST(SteeringSweepTest, HasALineForEverySettingAndTheUnsteeredOneOnce) {
  v1::JobSpec spec = Spec();
  v1::SteeringSweepSpec& sweep = *spec.mutable_steering_sweep();
  sweep.set_refine_count(0);
  sweep.set_null_count(0);
  for (const double each : {0.0, -5.0, 0.0, -5.0, 2.0}) {
    sweep.add_coefficients(each);
  }
  sweep.add_positions(v1::POSITION_SET_ALL);
  sweep.add_positions(v1::POSITION_SET_LAST_PROMPT);
  const auto lines = Lines(Whole(spec).at("steering.jsonl"));
  ASSERT_EQ(lines.size(), 1U + 3 * 2 * 2);
  EXPECT_EQ(lines[0]["phase"], "unsteered");
  EXPECT_TRUE(lines[0]["block"].is_null());
  EXPECT_EQ(lines[1]["coefficient"], -5.0);
  EXPECT_EQ(lines[3]["positions"], "last_prompt");
  EXPECT_THAT(lines[1]["belief_interval_95"].size(), 2);
}

TEST(SteeringSweepTest, DamageIsHowMuchLessLikelyItsOwnAnswersBecome) {
  v1::JobSpec spec = Spec();
  spec.mutable_steering_sweep()->add_coefficients(-2);
  spec.mutable_steering_sweep()->add_blocks(1);
  const auto lines = Lines(Whole(spec).at("steering.jsonl"));
  EXPECT_DOUBLE_EQ(lines[0]["damage"], 1.0);
  EXPECT_EQ(lines[0]["damage_added"], 0.0);
  // The false answers of a third of the questions lose 0.2 nats each.
  EXPECT_NEAR(lines[1]["damage_added"].get<double>(), 0.2 / 3, 1e-12);
}

TEST(SteeringSweepTest, RelativeCoefficientsAreMultiplesOfTheRowsLength) {
  v1::JobSpec spec = Spec();
  v1::SteeringSweepSpec& sweep = *spec.mutable_steering_sweep();
  sweep.set_relative_coefficients(true);
  sweep.set_refine_count(0);
  sweep.add_coefficients(-0.5);
  const auto lines = Lines(Whole(spec).at("steering.jsonl"));
  EXPECT_EQ(lines[2]["block"], 1);
  EXPECT_EQ(lines[2]["coefficient"], -0.5);
  EXPECT_EQ(lines[2]["absolute_coefficient"], -2.0);
}

TEST(SteeringSweepTest, ASettingThatHurtsControlsIsNeverTheBest) {
  v1::JobSpec spec = Spec();
  v1::SteeringSweepSpec& sweep = *spec.mutable_steering_sweep();
  sweep.set_refine_count(0);
  sweep.add_coefficients(-15);
  sweep.add_blocks(1);
  const Outputs outputs = Whole(spec);
  const auto summary = nlohmann::json::parse(outputs.at("summary.json"));
  EXPECT_TRUE(summary["best"].is_null());
  EXPECT_THAT(summary["best_reason"].get<std::string>(),
              HasSubstr("controls that hold"));
  EXPECT_EQ(summary["gate"]["verdict"], "warn");
  EXPECT_EQ(Lines(outputs.at("steering.jsonl"))[1]["returned_share"], 1.0);
}

TEST(SteeringSweepTest, AnEffectCountsOnlyBeyondRandomDirections) {
  v1::JobSpec spec = Spec();
  const auto few = nlohmann::json::parse(Whole(spec).at("summary.json"));
  const double p_value = few["null"]["p_value"];
  EXPECT_GT(p_value, 0);
  EXPECT_LE(p_value, 1);
  // In four dimensions a long random vector does it nearly as often as not.
  v1::SteeringSweepSpec& sweep = *spec.mutable_steering_sweep();
  sweep.add_coefficients(-11);
  sweep.set_refine_count(0);
  sweep.set_control_tolerance(1);
  const auto summary = nlohmann::json::parse(Whole(spec).at("summary.json"));
  EXPECT_EQ(summary["null"]["count"], 20);
  EXPECT_EQ(summary["null"]["percentile_95"], 1.0);
  EXPECT_EQ(summary["best"]["returned_share"], 1.0);
  EXPECT_TRUE(summary["minimal_effective"].is_null());
  EXPECT_EQ(summary["gate"]["verdict"], "warn");
}

TEST(SteeringSweepTest, RandomDirectionsDependOnTheSeedAlone) {
  v1::JobSpec spec = Spec();
  const std::string first = Whole(spec).at("null.csv");
  EXPECT_EQ(Whole(spec).at("null.csv"), first);
  spec.mutable_steering_sweep()->set_seed(43);
  EXPECT_NE(Whole(spec).at("null.csv"), first);
}

TEST(SteeringSweepTest, ManySettingsShareARequest) {
  FakeInterp compute;
  ASSERT_TRUE(RunOn(Spec(), compute).ok());
  // 9 questions: 1 + 3 * 3 settings are 90 sequences.
  EXPECT_EQ(compute.scores[0].variants_size(), 10);
  EXPECT_EQ(compute.scores[0].items_size(), 3 * kConflicts);
  EXPECT_TRUE(compute.scores[0].variants(0).interventions().empty());
  const v1::Intervention& added =
      compute.scores[0].variants(1).interventions(0);
  EXPECT_EQ(added.site(), v1::SITE_RESID_POST);
  EXPECT_THAT(added.blocks(), ElementsAre(0));
  EXPECT_EQ(added.add().vector().label(), "belief");
}

TEST(SteeringSweepTest, BatchSizeChangesNoByte) {
  const Outputs whole = Whole(Spec());
  for (const int sequences : {1, 4, 20}) {
    FakeInterp compute;
    const auto outputs = RunOn(Spec(), compute, sequences);
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    EXPECT_EQ(*outputs, whole) << sequences;
  }
}

TEST(SteeringSweepTest, RowsAreMeasuredInBatchesToo) {
  FakeInterp compute;
  ASSERT_TRUE(RunOn(Spec(), compute, /*sequences_per_request=*/4).ok());
  ASSERT_EQ(compute.captured.size(), 3U) << "of 9 questions";
  EXPECT_EQ(compute.captured[0].inputs_size(), 4);
  EXPECT_EQ(compute.captured[2].inputs_size(), 1);
}

// Its adapter is replaced after the first batch of rows.
class ReplacedInterp : public FakeInterp {
 public:
  absl::Status StreamActivations(
      const v1::StreamActivationsRequest& request, const CallOptions& options,
      MessageTaker<v1::StreamActivationsResponse> take) override {
    if (captured.size() == 1) adapter_digest = "sha256:other";
    return FakeInterp::StreamActivations(request, options, take);
  }
};

TEST(SteeringSweepTest, RowsOfTwoNetworksAreNotMixed) {
  ReplacedInterp compute;
  const absl::Status status = RunOn(Spec(), compute, 4).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

// Its last setting overflows at the third question.
class OverflowingInterp : public FakeInterp {
 public:
  absl::StatusOr<v1::ScoreResponse> Score(const v1::ScoreRequest& request,
                                          const CallOptions& options) override {
    absl::StatusOr<v1::ScoreResponse> response =
        FakeInterp::Score(request, options);
    for (v1::ItemScore& score : *response->mutable_scores()) {
      if (score.item_index() != 2 ||
          score.variant_index() + 1 != request.variants_size()) {
        continue;
      }
      score.mutable_continuations(1)->set_logprob(
          std::numeric_limits<double>::quiet_NaN());
    }
    return response;
  }
};

TEST(SteeringSweepTest, AScoreThatIsNotFiniteNamesSettingAndQuestion) {
  OverflowingInterp compute;
  FakeJob job;
  const absl::Status status = SteeringSweep(compute).Run(Spec(), job);
  EXPECT_TRUE(absl::IsOutOfRange(status)) << status;
  EXPECT_THAT(
      std::string(status.message()),
      HasSubstr("belief in block 2 times 10, question hard 0: log-prob"));
  EXPECT_EQ(job.items.size(), 1U) << "the rows' lengths";
}

TEST(SteeringSweepTest, ResumedAfterEveryCallItGivesTheSameBytes) {
  const v1::JobSpec spec = Spec();
  const Outputs whole = Whole(spec);
  FakeInterp compute;
  // Every call fails once.
  compute.fails = [](int call) { return call % 2 == 0; };
  FakeJob job;
  int attempts = 0;
  absl::Status status;
  do {
    SteeringSweep kind(compute, {.sequences_per_request = 20});
    status = kind.Run(spec, job);
    ASSERT_TRUE(status.ok() || absl::IsUnavailable(status)) << status;
  } while (!status.ok() && ++attempts < 100);
  EXPECT_GT(attempts, 10);
  EXPECT_EQ(job.outputs, whole);
}

TEST(SteeringSweepTest, AReplacedAdapterEndsAResumedJob) {
  FakeInterp compute;
  compute.fails = [](int call) { return call == 2; };
  FakeJob job;
  SteeringSweep kind(compute, {.sequences_per_request = 20});
  ASSERT_TRUE(absl::IsUnavailable(kind.Run(Spec(), job)));
  compute.adapter_digest = "sha256:other";
  const absl::Status status = kind.Run(Spec(), job);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("models/m/adapters/a changed"));
}

TEST(SteeringSweepTest, RecordsOfAnotherSweepAreDataLoss) {
  FakeInterp compute;
  compute.fails = [](int call) { return call == 2; };
  FakeJob job;
  SteeringSweep kind(compute, {.sequences_per_request = 20});
  ASSERT_TRUE(absl::IsUnavailable(kind.Run(Spec(), job)));
  v1::JobSpec other = Spec();
  other.mutable_steering_sweep()->add_coefficients(-4);
  EXPECT_TRUE(absl::IsDataLoss(kind.Run(other, job)));
}

TEST(SteeringSweepTest, ACancelledSweepStopsBetweenRequests) {
  FakeInterp compute;
  FakeJob job;
  job.when_cancelled = [&compute] { return compute.scores.size() == 2; };
  SteeringSweep kind(compute, {.sequences_per_request = 9});
  EXPECT_TRUE(absl::IsCancelled(kind.Run(Spec(), job)));
  EXPECT_EQ(compute.scores.size(), 2U);
}

TEST(SteeringSweepTest, SamplesShowBothAnswers) {
  const auto samples = Lines(Whole(Spec()).at("samples.jsonl"));
  ASSERT_EQ(samples.size(), 4U);
  EXPECT_EQ(samples[0]["id"], "conflict 0");
  EXPECT_EQ(samples[3]["id"], "easy 0");
  EXPECT_EQ(samples[0]["unsteered"], "answer 0.");
  EXPECT_EQ(samples[0]["steered"], "answer 1.");
}

TEST(SteeringSweepTest, ADirectionHasAtEachBlockItsOwnVector) {
  v1::JobSpec spec = Spec();
  v1::SweepDirection& direction =
      *spec.mutable_steering_sweep()->mutable_directions(0);
  direction.clear_vector();
  for (const int block : {0, 1}) {
    v1::DirectionVector& vector = *direction.add_vectors();
    vector.mutable_place()->set_site(v1::SITE_RESID_POST);
    vector.mutable_place()->set_block(block);
    *vector.mutable_vector() = Axis(1 - block);
  }
  FakeInterp compute;
  ASSERT_TRUE(RunOn(spec, compute).ok());
  EXPECT_EQ(compute.scores[0].variants_size(), 1 + 2 * 3);
  const auto summary = nlohmann::json::parse(Whole(spec).at("summary.json"));
  EXPECT_EQ(summary["best"]["block"], 1);

  spec.mutable_steering_sweep()->add_blocks(2);
  EXPECT_THAT(Refusal(spec), HasSubstr("has no vector in block 2; it has some "
                                       "in 0, 1"));
  spec.mutable_steering_sweep()->set_site(v1::SITE_RESID_PRE);
  EXPECT_THAT(Refusal(spec), HasSubstr("no vector at resid_pre; it has "
                                       "blocks.0.resid_post"));
}

TEST(SteeringSweepTest, AVectorWithHeadsIsAddedHeadByHead) {
  v1::JobSpec spec = Spec();
  v1::SteeringSweepSpec& sweep = *spec.mutable_steering_sweep();
  sweep.set_site(v1::SITE_Z);
  v1::Tensor& tensor =
      *sweep.mutable_directions(0)->mutable_vector()->mutable_tensor();
  tensor.clear_shape();
  tensor.add_shape(2);
  tensor.add_shape(2);
  FakeInterp compute;
  ASSERT_TRUE(RunOn(spec, compute).ok());
  ASSERT_EQ(compute.scores[0].variants(1).interventions_size(), 2);
  EXPECT_EQ(compute.scores[0].variants(1).interventions(1).head(), 1);
  sweep.set_site(v1::SITE_V);
  EXPECT_THAT(Refusal(spec), HasSubstr("v of models/m has 1 heads"));
}

TEST(SteeringSweepTest, AVectorOfAnotherModelIsRefused) {
  v1::JobSpec spec = Spec();
  *spec.mutable_steering_sweep()
       ->mutable_directions(0)
       ->mutable_vector()
       ->mutable_tensor() = Axis(0, 256);
  EXPECT_THAT(Refusal(spec),
              HasSubstr("steering_sweep.directions[0]: it has 256 numbers, "
                        "resid_post of models/m has 4: it belongs to another "
                        "model"));
}

TEST(SteeringSweepTest, DataWithoutABeliefIsRefused) {
  v1::JobSpec spec = Spec();
  std::string& data = *spec.mutable_steering_sweep()->mutable_data();
  data = data.substr(data.find("\n") + 1);
  data = data.substr(0, data.find("{\"category\":\"conflict\""));
  EXPECT_THAT(Refusal(spec),
              HasSubstr("questions.jsonl has no question with a false answer"));
  data = "{}";
  EXPECT_THAT(Refusal(spec), HasSubstr("questions.jsonl:1: id: missing"));
}

TEST(SteeringSweepTest, WhatIsOutOfRangeIsRefusedByName) {
  const auto refusal = [](auto&& change) {
    v1::JobSpec spec = Spec();
    change(*spec.mutable_steering_sweep());
    return Refusal(spec);
  };
  EXPECT_THAT(refusal([](auto& sweep) { sweep.add_blocks(3); }),
              HasSubstr("blocks: models/m has blocks 0 to 2, not 3"));
  EXPECT_THAT(refusal([](auto& sweep) { sweep.add_coefficients(0); }),
              HasSubstr("coefficients: 0 alone steers nothing"));
  EXPECT_THAT(
      refusal([](auto& sweep) {
        sweep.add_coefficients(std::numeric_limits<double>::quiet_NaN());
      }),
      HasSubstr("coefficients: expected finite"));
  EXPECT_THAT(refusal([](auto& sweep) { sweep.clear_directions(); }),
              HasSubstr("directions: expected 1 to 64, found 0"));
  EXPECT_THAT(refusal([](auto& sweep) {
                *sweep.add_directions() = sweep.directions(0);
              }),
              HasSubstr("a second direction called \"belief\""));
  EXPECT_THAT(refusal([](auto& sweep) {
                sweep.mutable_directions(0)->mutable_vector()->set_direction(
                    "directions/x");
              }),
              HasSubstr("directions/x was not resolved"));
  EXPECT_THAT(refusal([](auto& sweep) { sweep.set_site(v1::SITE_LOGITS); }),
              HasSubstr("site: logits can't be changed"));
  EXPECT_THAT(refusal([](auto& sweep) { sweep.set_site(v1::SITE_FINAL_NORM); }),
              HasSubstr("site: final_norm belongs to no block"));
  EXPECT_THAT(refusal([](auto& sweep) {
                sweep.add_positions(v1::POSITION_SET_UNSPECIFIED);
              }),
              HasSubstr("positions: 0 names no set"));
  EXPECT_THAT(refusal([](auto& sweep) { sweep.set_null_count(-1); }),
              HasSubstr("null_count: expected 0 to 1000, found -1"));
  EXPECT_THAT(refusal([](auto& sweep) { sweep.set_control_tolerance(1.5); }),
              HasSubstr("control_tolerance"));
  EXPECT_THAT(refusal([](auto& sweep) {
                for (int i = 1; i < 2000; ++i) sweep.add_coefficients(i);
              }),
              HasSubstr("the grid has 5998 settings; at most 4096"));
}

TEST(SteeringSweepTest, AModelThatIsNotThereIsNamed) {
  v1::JobSpec spec = Spec();
  spec.mutable_steering_sweep()->mutable_variant()->set_model("models/none");
  FakeInterp compute;
  const absl::Status status = SteeringSweep(compute).Validate(spec);
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("steering_sweep.variant: models/none"));
}

}  // namespace
}  // namespace dissonance
