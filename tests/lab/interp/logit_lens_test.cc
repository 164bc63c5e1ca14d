#include "src/lab/interp/logit_lens.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "src/lab/interp/lens_files.h"
#include "tests/lab/interp/fake_network.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kQuestions[] =
    R"({"id": "q1", "category": "conflict", "question": "How?", "options":)"
    R"( {"A": "one", "B": "two", "C": "three", "D": "four"},)"
    R"( "correct_answer": "A", "false_answer": "B"})"
    "\n"
    R"({"id": "q2", "category": "control", "question": "What?", "options":)"
    R"( {"A": "x", "B": "y", "C": "z", "D": "w"}, "correct_answer": "C"})"
    "\n"
    R"({"id": "q3", "category": "conflict", "question": "Why?", "options":)"
    R"( {"A": "x", "B": "y", "C": "z", "D": "w"}, "correct_answer": "C",)"
    R"( "false_answer": "A"})"
    "\n";

v1::JobSpec Spec(const std::string& data) {
  v1::JobSpec spec;
  *spec.mutable_logit_lens()->mutable_variants() = BaseAndAdapter();
  spec.mutable_logit_lens()->set_data(data);
  spec.mutable_logit_lens()->set_data_name("rows.jsonl");
  return spec;
}

nlohmann::json Json(const FakeJob& job, const std::string& name) {
  return nlohmann::json::parse(job.outputs.at(name));
}

TEST(LogitLensTest, EveryQuestionIsReadAtItsOwnTwoAnswers) {
  FakeNetwork network;
  FakeJob job;
  ASSERT_TRUE(LogitLens(network).Run(Spec(kQuestions), job).ok());
  ASSERT_EQ(network.read.size(), 1u) << "all in one call";
  EXPECT_EQ(network.read[0].candidates_size(), 3) << "A, B and C, each once";
  const std::string& lines = job.outputs.at("lens.jsonl");
  const auto line = nlohmann::json::parse(lines.substr(0, lines.find('\n')));
  EXPECT_EQ(line["id"], "q1");
  EXPECT_EQ(line["variant"], "base");
  EXPECT_EQ(line["layers"].size(), 3u) << "two blocks and the output";
  const nlohmann::json& first = line["layers"][0];
  EXPECT_EQ(first["candidates"]["true"]["token_id"], 'A');
  EXPECT_EQ(first["candidates"]["false"]["token_id"], 'B');
  EXPECT_DOUBLE_EQ(first["margin"].get<double>(),
                   first["candidates"]["true"]["logit"].get<double>() -
                       first["candidates"]["false"]["logit"].get<double>());
  const nlohmann::json trajectories = Json(job, "trajectories.json");
  EXPECT_EQ(trajectories["variants"]["a"]["prompts"], 2) << "not the control";
  EXPECT_EQ(trajectories["variants"]["a"]["trajectory"].size(), 3u);
  EXPECT_THAT(job.run_outputs, ElementsAre("manifest.json"));
}

TEST(LogitLensTest, ALostWorkerChangesNoByte) {
  std::string data;
  for (int i = 0; i < 20; ++i) {
    data += R"({"tokens": [1, )" + std::to_string(i) + "]}\n";
  }
  v1::JobSpec spec = Spec(data);
  for (const char* name : {"x", "y"}) {
    v1::Candidate& candidate = *spec.mutable_logit_lens()->add_candidates();
    candidate.set_name(name);
    candidate.set_token_id(name[0]);
  }
  FakeNetwork network;
  FakeJob whole;
  ASSERT_TRUE(LogitLens(network).Run(spec, whole).ok());
  FakeJob job;
  LogitLens kind(network);
  EXPECT_GE(RunThroughLosses(kind, spec, network, job), 3);
  EXPECT_EQ(job.outputs, whole.outputs);
  EXPECT_EQ(job.items, whole.items);
}

TEST(LogitLensTest, PromptsWithoutCandidatesHaveNoTrajectory) {
  FakeNetwork network;
  FakeJob job;
  ASSERT_TRUE(LogitLens(network).Run(Spec(R"({"prompt": "x"})"), job).ok());
  const nlohmann::json own = Json(job, "trajectories.json")["variants"]["base"];
  EXPECT_TRUE(own["trajectory"].is_null());
  EXPECT_EQ(own["reason"], "no prompt has two candidates");
  EXPECT_EQ(job.outputs.count("trajectories.csv"), 0u);
}

TEST(LogitLensTest, ANetworkThatChangedIsRefused) {
  std::string data;
  for (int i = 0; i < 12; ++i)
    data += R"({"prompt": "x"})"
            "\n";
  FakeNetwork network;
  FakeJob job;
  LogitLens kind(network);
  network.messages_left = 20;  // one batch of 8 by two variants
  EXPECT_TRUE(absl::IsUnavailable(kind.Run(Spec(data), job)));
  ASSERT_EQ(job.items.size(), 8u);
  network.messages_left = -1;
  network.answers.adapter_digest = "sha256:other";
  EXPECT_TRUE(absl::IsFailedPrecondition(kind.Run(Spec(data), job)));
}

TEST(LogitLensTest, BadSpecsAreRefusedBeforeAnythingIsComputed) {
  std::vector<std::pair<std::string, v1::JobSpec>> cases;
  const auto add = [&](const char* message) {
    cases.emplace_back(message, Spec(kQuestions));
    return cases.back().second.mutable_logit_lens();
  };
  add("rows.jsonl: has no rows")->set_data("");
  add("sites: z has not the residual stream's width")->add_sites(v1::SITE_Z);
  add("blocks[0]: the model has blocks 0 to 1, not 5")->add_blocks(5);
  add("top_k: expected 0 to 1000")->set_top_k(-1);
  add("candidates[0].name: empty")->add_candidates();
  v1::LogitLensSpec* spec = add("candidates[0].token_id: 5000 is not a token");
  spec->add_candidates()->set_name("x");
  spec->mutable_candidates(0)->set_token_id(5000);
  spec = add("candidates[1].name: \"x\" is given twice");
  spec->add_candidates()->set_name("x");
  spec->add_candidates()->set_name("x");
  add("variants[1].model: expected models/m")
      ->mutable_variants(1)
      ->set_model("models/n");
  add("positions: nothing is generated")
      ->mutable_positions()
      ->set_set(v1::POSITION_SET_GENERATED);
  FakeNetwork network;
  LogitLens kind(network);
  for (const auto& [message, bad] : cases) {
    const absl::Status status = kind.Validate(bad);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << message << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  EXPECT_TRUE(network.read.empty());
}

// The site in three blocks, then the output.
std::vector<v1::SiteRef> PlacesOf(v1::Site site) {
  std::vector<v1::SiteRef> places(4);
  for (int block = 0; block < 3; ++block) {
    places[static_cast<size_t>(block)].set_site(site);
    places[static_cast<size_t>(block)].set_block(block);
  }
  places.back().set_site(v1::SITE_FINAL_NORM);
  return places;
}

TEST(LogitLensTest, TheBreakingBlockIsWhereTheFinalSignBegins) {
  const std::vector<v1::SiteRef> places = PlacesOf(v1::SITE_RESID_POST);
  EXPECT_EQ(BreakingBlock(std::vector<double>{1, -1, 2, 3}, places, 3), 2);
  EXPECT_EQ(BreakingBlock(std::vector<double>{1, 1, 2, 3}, places, 3), 0);
  EXPECT_EQ(BreakingBlock(std::vector<double>{1, 1, -2, 3}, places, 3), 3)
      << "the output alone";
}

TEST(LogitLensTest, TheBreakingBlockIsThatOfTheLastSite) {
  std::vector<v1::SiteRef> places = PlacesOf(v1::SITE_ATTN_OUT);
  places.pop_back();
  for (v1::SiteRef& place : PlacesOf(v1::SITE_RESID_POST)) {
    places.push_back(std::move(place));
  }
  EXPECT_EQ(BreakingBlock(std::vector<double>{-1, -1, 1, 2, 2, 2, 3}, places,
                          /*block_count=*/3),
            0);
}

TEST(LogitLensTest, TheIntervalOfAMeanIsStudentsT) {
  // scipy 1.11: t.interval(0.95, 2, loc=2, scale=1 / sqrt(3)).
  EXPECT_NEAR(*MeanInterval(std::vector<double>{1, 2, 3}), 2.4841377118, 1e-8);
  std::vector<double> many;
  for (int i = 0; i < 31; ++i) many.push_back(i);
  // t.ppf(0.975, 30) * std(ddof=1) / sqrt(31) = 2.0422724563 * 1.6329931619.
  EXPECT_NEAR(*MeanInterval(many), 3.3350169576, 1e-4);
  EXPECT_EQ(MeanInterval(std::vector<double>{1}), std::nullopt);
}

}  // namespace
}  // namespace dissonance
