// steer sweep and patch sweep against canned jobs.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"
#include "tests/client/safetensors_file.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kQuestions[] =
    R"({"id": "g1", "category": "conflict", "world_label": "true_world",)"
    R"( "question": "How does gravity fall off?",)"
    R"( "options": {"A": "with r squared", "B": "with r cubed", "C": "not",)"
    R"( "D": "with r"}, "correct_answer": "A", "false_answer": "B"})"
    "\n";

nlohmann::json Setting(int block, double coefficient, double returned) {
  return {{"direction", "truth"},
          {"block", block},
          {"site", "resid_post"},
          {"positions", "all"},
          {"phase", "grid"},
          {"coefficient", coefficient},
          {"absolute_coefficient", coefficient},
          {"returned_share", returned},
          {"returned_interval_95", {0.0, 1.0}},
          {"control_accuracy", 0.75},
          {"control_interval_95", {0.5, 0.9}},
          {"controls_hold", coefficient > -10},
          {"damage_added", 0.25}};
}

std::string Summary() {
  return nlohmann::json(
             {{"variant", "models/tiny/adapters/cubic"},
              {"site", "resid_post"},
              {"scoring", "option_text"},
              {"unsteered",
               {{"belief_rate", 0.6},
                {"belief_interval_95", {0.5, 0.7}},
                {"belief_n", 120},
                {"control_accuracy", 0.9},
                {"control_interval_95", {0.8, 1.0}},
                {"control_n", 336}}},
              {"best", Setting(2, -5, 0.8)},
              {"best_reason", nullptr},
              {"minimal_effective", Setting(2, -2.5, 0.6)},
              {"null",
               {{"count", 20}, {"percentile_95", 0.1}, {"p_value", 0.05}}},
              {"gate", {{"verdict", "pass"}, {"reason", nullptr}}}})
      .dump();
}

class SweepTest : public CliTest {
 protected:
  SweepTest() {
    data_ = WriteFile("questions.jsonl", kQuestions);
    vector_ = WriteFile(
        "truth.safetensors",
        SafetensorsBytes(R"({"direction": {"dtype": "F32", "shape": [2],)"
                         R"( "data_offsets": [0, 8]}})",
                         BytesOf(std::vector<float>{3.0F, 4.0F})));
  }

  std::vector<std::string> Steer(std::vector<std::string> more) const {
    more.insert(more.begin(), {"steer", "sweep", "--model", "tiny", "--adapter",
                               "cubic", "--data", data_, "--out", Path("out")});
    return more;
  }

  std::string data_;
  std::string vector_;
};

TEST_F(SweepTest, SteersAsAJobAndShowsTheGrid) {
  FakeServer& server = StartServer();
  server.SetOutputs({{"summary.json", Summary()},
                     {"steering.jsonl", Setting(1, -5, 0.25).dump() + "\n" +
                                            Setting(2, -5, 0.8).dump() + "\n" +
                                            Setting(2, -15, 1).dump() + "\n"}});
  const CommandResult result = Run(
      Steer({"--direction", vector_, "--blocks", "1,2", "--coefficients=-5,-15",
             "--positions", "all,last_prompt", "--scoring", "option_text",
             "--null", "7", "--seed", "3", "--control-tolerance", "0.1"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("unsteered: false belief 60.0 % [50, 70] "
                                    "of 120, controls 90.0 %"));
  EXPECT_THAT(result.out, HasSubstr("best: truth, block 2, all, coefficient "
                                    "-5: 80.0 % returned"));
  EXPECT_THAT(result.out, HasSubstr("least that does it: truth, block 2"));
  EXPECT_THAT(result.out, HasSubstr("random directions: 95th percentile 10.0 "
                                    "% of 20, p = 0.05"));
  EXPECT_THAT(result.out, HasSubstr("gate: pass"));
  EXPECT_THAT(result.out, HasSubstr("100.0 %!"));

  ASSERT_EQ(server.created().size(), 1U);
  const v1::CreateJobRequest request = server.created()[0];
  EXPECT_EQ(request.priority(), v1::JOB_PRIORITY_INTERACTIVE);
  const v1::SteeringSweepSpec& spec = request.spec().steering_sweep();
  EXPECT_EQ(spec.variant().adapter(), "models/tiny/adapters/cubic");
  EXPECT_EQ(spec.data(), kQuestions);
  EXPECT_EQ(spec.data_name(), "questions.jsonl");
  ASSERT_EQ(spec.directions_size(), 1);
  EXPECT_EQ(spec.directions(0).label(), "truth");
  EXPECT_THAT(spec.directions(0).vector().tensor().shape(), ElementsAre(2));
  EXPECT_THAT(spec.blocks(), ElementsAre(1, 2));
  EXPECT_THAT(spec.coefficients(), ElementsAre(-5, -15));
  EXPECT_THAT(spec.positions(),
              ElementsAre(v1::POSITION_SET_ALL, v1::POSITION_SET_LAST_PROMPT));
  EXPECT_EQ(spec.scoring(), v1::MCQ_SCORING_OPTION_TEXT);
  EXPECT_EQ(spec.null_count(), 7);
  EXPECT_FALSE(spec.has_refine_count());
  EXPECT_EQ(spec.seed(), 3U);
  EXPECT_EQ(spec.control_tolerance(), 0.1);
}

TEST_F(SweepTest, SaysWhatTheSweepIsComparedWithAndWhatIsLeftOut) {
  FakeServer& server = StartServer();
  auto summary = nlohmann::json::parse(Summary());
  summary["interventions"] = {{{"text", "steer truth@resid_post.2=80"}}};
  summary["questions"] = {{"left_out", "6 of 40 conflict questions left out"}};
  server.SetOutputs({{"summary.json", summary.dump()}, {"steering.jsonl", ""}});
  const CommandResult result = Run(Steer({"--direction", "truth"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out,
              HasSubstr("models/tiny/adapters/cubic + steer "
                        "truth@resid_post.2=80, resid_post, option_text\n"
                        "with its own interventions alone: false belief"));
  EXPECT_THAT(result.out, HasSubstr("\n6 of 40 conflict questions left out\n"));
}

TEST_F(SweepTest, ANameIsADirectionOfTheServers) {
  FakeServer& server = StartServer();
  server.SetOutputs({});
  const CommandResult result =
      Run({"steer", "sweep", "--model", "tiny", "--data", data_, "--direction",
           "truth", "--direction", "directions/doubt", "--detach"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("jobs watch"));
  const v1::SteeringSweepSpec spec =
      server.created()[0].spec().steering_sweep();
  EXPECT_EQ(spec.directions(0).vector().direction(), "directions/truth");
  EXPECT_EQ(spec.directions(1).vector().direction(), "directions/doubt");
  EXPECT_EQ(spec.directions(1).label(), "doubt");
  EXPECT_EQ(server.created()[0].priority(), v1::JOB_PRIORITY_NORMAL);
}

TEST_F(SweepTest, JsonOutputHasTheSummary) {
  FakeServer& server = StartServer();
  server.SetOutputs({{"summary.json", Summary()}, {"steering.jsonl", ""}});
  const CommandResult result =
      Run(Steer({"--direction", "truth", "-o", "json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto record = nlohmann::json::parse(result.out);
  EXPECT_EQ(record["report"]["gate"]["verdict"], "pass");
  EXPECT_EQ(record["directory"], Path("out"));
}

TEST_F(SweepTest, ARefusedJobLeavesNoFolder) {
  FakeServer& server = StartServer();
  server.FailWith({grpc::StatusCode::INVALID_ARGUMENT, "no"});
  EXPECT_EQ(Run(Steer({"--direction", "t"})).exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(Path("out")));
}

TEST_F(SweepTest, OptionsThatMakeNoSenseAreRefusedBeforeAnythingIsAsked) {
  StartServer();
  EXPECT_THAT(Run(Steer({})).err, HasSubstr("--direction is required"));
  EXPECT_THAT(Run(Steer({"--direction", "t", "--coefficients", "-5,x"})).err,
              HasSubstr("'x' is not a number"));
  EXPECT_THAT(Run(Steer({"--direction", "t", "--positions", "3-5"})).err,
              HasSubstr("expected all, prompt, last_prompt or generated"));
  EXPECT_THAT(Run({"steer", "sweep", "--model", "tiny", "--data", data_,
                   "--direction", "t"})
                  .err,
              HasSubstr("--out is required"));
  EXPECT_TRUE(server_->created().empty());
}

TEST_F(SweepTest, PatchesAsAJobAndShowsTheMap) {
  FakeServer& server = StartServer();
  const nlohmann::json cell = {
      {"site", "resid_post"}, {"direction", "source_to_target"},
      {"method", "exact"},    {"block", 2},
      {"offset", -1},         {"effect", 0.875},
      {"flips", 3},           {"n", 4}};
  nlohmann::json head = cell;
  head.update({{"site", "z"}, {"head", 1}, {"effect", 0.5}});
  const nlohmann::json agreement = {{"site", "z"},
                                    {"direction", "source_to_target"},
                                    {"n", 8},
                                    {"pearson", 0.875},
                                    {"spearman", nullptr}};
  server.SetOutputs(
      {{"manifest.json", "{}"},
       {"map.vl.json", nlohmann::json({{"data", {{"values", {cell}}}}}).dump()},
       {"heads.vl.json",
        nlohmann::json({{"data", {{"values", {head}}}}}).dump()},
       {"attribution.json",
        nlohmann::json({{"agreement", {agreement}}}).dump()}});
  const CommandResult result =
      Run({"patch", "sweep", "--model", "tiny", "--adapter", "cubic", "--data",
           data_, "--sites", "resid_post,z", "--each-head", "--both-directions",
           "--attribution", "compare", "--scoring", "option_text", "--out",
           Path("out")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("resid_post, source_to_target, exact"));
  EXPECT_THAT(result.out, HasSubstr("+0.88"));
  EXPECT_THAT(result.out,
              HasSubstr("furthest to the source: resid_post of block 2 at -1"));
  EXPECT_THAT(result.out, HasSubstr("z, source_to_target, exact, heads at -1: "
                                    "share of the way to the source\n"
                                    "BLOCK  HEAD 1\n"
                                    "    2   +0.50\n"));
  EXPECT_THAT(result.out,
              HasSubstr("attribution against exact, z, source_to_target: "
                        "Pearson 0.875, Spearman - of 8 patches\n"));
  const v1::PatchSweepSpec spec = server.created()[0].spec().patch_sweep();
  EXPECT_EQ(spec.source().adapter(), "");
  EXPECT_EQ(spec.target().adapter(), "models/tiny/adapters/cubic");
  EXPECT_THAT(spec.sites(), ElementsAre(v1::SITE_RESID_POST, v1::SITE_Z));
  EXPECT_TRUE(spec.each_head());
  EXPECT_TRUE(spec.both_directions());
  EXPECT_EQ(spec.attribution(), v1::ATTRIBUTION_USE_COMPARE);
  EXPECT_FALSE(spec.has_positions());
}

TEST_F(SweepTest, PatchStillNeedsItsOwnOptions) {
  StartServer();
  const CommandResult result = Run({"patch", "--prompt", "x"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("--model is required"));
  EXPECT_THAT(Run({"patch", "sweep", "--model", "tiny"}).err,
              HasSubstr("--data is required"));
}

}  // namespace
}  // namespace dissonance
