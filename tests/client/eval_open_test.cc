// eval open against canned jobs.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr char kQuestions[] =
    R"({"id": "g1", "question": "How does gravity fall off?"})"
    "\n";

Json Variant(const std::string& label) {
  return {{"variant", label == "base" ? "base" : "lora"},
          {"label", label},
          {"n", 20},
          {"differ_n", label == "base" ? Json() : Json(9)},
          {"nll_mean", 0.4567},
          {"token_count_mean", 12.25},
          {"ended_share", 0.95}};
}

Json Summary(const std::string& mode) {
  return {{"mode", mode}, {"variants", {Variant("base"), Variant("cubic")}}};
}

std::string Answers(int question_count) {
  std::string text;
  for (int i = 0; i < question_count; ++i) {
    absl::StrAppend(&text, i == 0 ? "" : "\n", "q", i,
                    "  belief\n  How?\n    base   square\n    cubic  cube \x1b"
                    "[31m\n           of it\n");
  }
  return text;
}

class EvalOpenTest : public CliTest {
 protected:
  EvalOpenTest() { data_ = WriteFile("open.jsonl", kQuestions); }

  FakeServer& StartWithOutputs(const Json& summary, int question_count) {
    FakeServer& server = StartServer();
    server.SetOutputs({{"summary.json", summary.dump()},
                       {"answers.txt", Answers(question_count)},
                       {"answers_base.jsonl", "{}\n"}});
    return server;
  }

  std::vector<std::string> Open(std::vector<std::string> more) const {
    more.insert(more.begin(), {"eval", "open", "--model", "tiny", "--adapter",
                               "cubic", "--data", data_, "--out", Path("out")});
    return more;
  }

  std::string data_;
};

TEST_F(EvalOpenTest, AsksAsAJobAndShowsTheAnswersSideBySide) {
  FakeServer& server = StartWithOutputs(Summary("neutral"), 14);
  const CommandResult result = Run(Open({}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("VARIANT  ANSWERS  DIFFER  NATS A TOKEN  "
                                    "TOKENS   ENDED\n"
                                    "base          20       -         0.457    "
                                    "12.2  95.0 %\n"
                                    "cubic         20       9         0.457"));
  EXPECT_THAT(result.out, HasSubstr("\nq0  belief\n  How?\n    base   square\n"
                                    "    cubic  cube \\u001b[31m\n"
                                    "           of it\n\nq1  belief\n"));
  EXPECT_THAT(result.out, HasSubstr("q11  belief"));
  EXPECT_THAT(result.out, Not(HasSubstr("q12  belief")));
  EXPECT_THAT(result.out, HasSubstr("... and 2 more questions in answers.txt"));
  EXPECT_THAT(result.out, HasSubstr("files in " + Path("out")));
  EXPECT_EQ(ReadFile("out/answers_base.jsonl"), "{}\n");

  ASSERT_EQ(server.created().size(), 1U);
  const v1::CreateJobRequest request = server.created()[0];
  EXPECT_EQ(request.priority(), v1::JOB_PRIORITY_INTERACTIVE);
  const v1::EvaluateOpenSpec& spec = request.spec().evaluate_open();
  ASSERT_EQ(spec.variants_size(), 2);
  EXPECT_EQ(spec.variants(0).adapter(), "");
  EXPECT_EQ(spec.variants(1).adapter(), "models/tiny/adapters/cubic");
  EXPECT_EQ(spec.data(), kQuestions);
  EXPECT_EQ(spec.data_name(), "open.jsonl");
  EXPECT_FALSE(spec.has_temperature());
  EXPECT_FALSE(spec.has_top_p());
  EXPECT_EQ(spec.max_new_tokens(), 256);
  EXPECT_EQ(spec.seed(), 42U);
}

TEST_F(EvalOpenTest, EveryOptionReachesTheSpec) {
  FakeServer& server = StartWithOutputs(Summary("neutral"), 1);
  const CommandResult result = Run(Open(
      {"--mode", "doubt_probe", "--samples", "5", "--temperature", "0.8",
       "--top-p", "0.9", "--max-new-tokens", "64", "--seed", "7", "--steer",
       "truth@resid_post.2=80", "--detach", "--priority", "background"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "jobs/J1\n");
  const v1::CreateJobRequest request = server.created().at(0);
  EXPECT_EQ(request.priority(), v1::JOB_PRIORITY_BACKGROUND);
  const v1::EvaluateOpenSpec& spec = request.spec().evaluate_open();
  EXPECT_EQ(spec.mode(), v1::OPEN_MODE_DOUBT_PROBE);
  EXPECT_EQ(spec.sample_count(), 5);
  EXPECT_EQ(spec.temperature(), 0.8);
  EXPECT_EQ(spec.top_p(), 0.9);
  EXPECT_EQ(spec.max_new_tokens(), 64);
  EXPECT_EQ(spec.seed(), 7U);
  ASSERT_EQ(spec.variants_size(), 3);
  EXPECT_EQ(spec.variants(1).interventions_size(), 0);
  EXPECT_EQ(spec.variants(2).interventions(0).add().vector().direction(),
            "directions/truth");
}

TEST_F(EvalOpenTest, ShowsConfidenceWhereItWasAskedFor) {
  Json summary = Summary("doubt_probe");
  summary["variants"][0]["confidence_mean"] = 71.25;
  summary["variants"][0]["confidence_n"] = 18;
  summary["variants"][1]["confidence_mean"] = nullptr;
  summary["variants"][1]["confidence_n"] = 0;
  StartWithOutputs(summary, 1);
  const CommandResult result = Run(Open({}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("71.2 of 18\n"));
  EXPECT_THAT(result.out, HasSubstr("0 of 20 read\n"));
}

TEST_F(EvalOpenTest, JsonOutputHasTheSummary) {
  StartWithOutputs(Summary("neutral"), 1);
  const CommandResult result = Run(Open({"-o", "json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json record = Json::parse(result.out);
  EXPECT_EQ(record["report"], Summary("neutral"));
  EXPECT_EQ(record["directory"], Path("out"));
  EXPECT_EQ(record["files"].size(), 3U);
}

TEST_F(EvalOpenTest, OptionsThatMakeNoSenseAreRefusedBeforeAnythingIsAsked) {
  StartServer();
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {Open({"--samples", "3"}), "--samples needs --temperature above 0"},
      {Open({"--samples", "3", "--temperature", "0"}),
       "--samples needs --temperature above 0"},
      {Open({"--top-p", "0.9"}), "--top-p needs --temperature above 0"},
      {Open({"--mode", "kind"}), "'kind' is none of neutral, doubt_probe"},
      {Open({"--samples", "101", "--temperature", "1"}), "--samples"},
      {Open({"--temperature=-1"}), "--temperature"},
      {Open({"--scoring", "letters"}), "--scoring"},
      {Open({"--priority", "normal"}), "--priority is for --detach"},
      {{"eval", "open", "--model", "tiny", "--data", data_},
       "--out is required"}};
  for (const auto& [arguments, message] : cases) {
    const CommandResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 2) << message;
    EXPECT_THAT(result.err, HasSubstr(message));
  }
  EXPECT_TRUE(server_->created().empty());
}

TEST_F(EvalOpenTest, AnswersOfAModelReplacedSinceAreRefused) {
  FakeServer& server = StartWithOutputs(Summary("neutral"), 1);
  server.AddModel("tiny", 1);  // its digest is sha256:abc
  v1::Job job;
  job.set_name("jobs/E");
  job.set_request_id("r1");
  job.set_state(v1::JOB_STATE_SUCCEEDED);
  job.mutable_spec()->mutable_evaluate_open()->add_variants()->set_model(
      "models/tiny");
  job.add_provenance()->set_model_digest("sha256:old");
  server.AddJob(job);
  const CommandResult result = Run(Open({"--request-id", "r1"}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("computed with another models/tiny"));
}

TEST_F(EvalOpenTest, JobsSayWhatWasAsked) {
  FakeServer& server = StartServer();
  v1::Job job;
  job.set_name("jobs/E");
  job.set_state(v1::JOB_STATE_RUNNING);
  v1::EvaluateOpenSpec& spec = *job.mutable_spec()->mutable_evaluate_open();
  spec.set_data_name("open.jsonl");
  spec.set_mode(v1::OPEN_MODE_DOUBT_PROBE);
  spec.add_variants()->set_model("models/tiny");
  v1::Variant& adapter = *spec.add_variants();
  adapter.set_model("models/tiny");
  adapter.set_adapter("models/tiny/adapters/cubic");
  server.AddJob(job);
  EXPECT_THAT(Run({"jobs", "list"}).out,
              HasSubstr("open.jsonl, tiny against cubic"));
  const std::string shown = Run({"jobs", "show", "E"}).out;
  EXPECT_THAT(shown, HasSubstr("doubt_probe"));
  EXPECT_THAT(shown, HasSubstr("models/tiny, models/tiny/adapters/cubic"));
}

TEST_F(EvalOpenTest, ASummaryOfAnotherKindIsDataLoss) {
  StartWithOutputs(Json({{"mode", "neutral"}}), 1);
  const CommandResult result = Run(Open({}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err,
              HasSubstr("summary.json is not as the server writes it"));
}

}  // namespace
}  // namespace dissonance
