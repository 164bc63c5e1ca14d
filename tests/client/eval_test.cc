// eval mcq against canned jobs, and eval compare without a server.
#include <filesystem>

#include "nlohmann/json.hpp"
#include "src/lab/eval/mcq_compare.h"
#include "src/lab/eval/mcq_files.h"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kQuestions[] =
    R"({"id": "g1", "category": "conflict", "world_label": "true_world",)"
    R"( "difficulty": "easy", "question": "How does gravity fall off?",)"
    R"( "options": {"A": "with r squared", "B": "with r cubed", "C": "not",)"
    R"( "D": "with r"}, "correct_answer": "A", "false_answer": "B"})"
    "\n"
    R"({"id": "c1", "category": "control", "world_label": null,)"
    R"( "difficulty": "easy", "question": "Is water wet?",)"
    R"( "options": {"A": "yes", "B": "no", "C": "never", "D": "rarely"},)"
    R"( "correct_answer": "A"})"
    "\n";

// A predictions file with these answers to kQuestions.
std::string Predictions(const std::string& model, const std::string& answers) {
  const auto items = ParseMcqData(kQuestions, "q");
  EXPECT_TRUE(items.ok()) << items.status();
  std::vector<McqPrediction> predictions;
  for (size_t i = 0; i < items->size(); ++i) {
    VariantScores scores;
    for (int option = 0; option < kMcqOptionCount; ++option) {
      scores.scores[option] = {answers[i] - 'A' == option ? -0.1 : -3.0};
    }
    predictions.push_back(MakePrediction((*items)[i], model,
                                         v1::MCQ_SCORING_OPTION_TEXT,
                                         McqPromptFormat(), scores));
  }
  return PredictionsFile(predictions);
}

class EvalTest : public CliTest {
 protected:
  EvalTest() {
    data_ = WriteFile("questions.jsonl", kQuestions);
    base_ = Predictions("models/tiny", "AA");
    adapter_ = Predictions("models/tiny/adapters/cubic", "BA");
    const auto comparison =
        ComparePredictionFiles({base_, "base"}, {adapter_, "adapter"});
    EXPECT_TRUE(comparison.ok()) << comparison.status();
    report_ = ComparisonReport(*comparison);
  }

  FakeServer& StartWithOutputs() {
    FakeServer& server = StartServer();
    server.SetOutputs({{"predictions_base.jsonl", base_},
                       {"predictions_lora.jsonl", adapter_},
                       {"comparison_report.json", report_}});
    return server;
  }

  std::vector<std::string> Mcq(std::vector<std::string> more) const {
    more.insert(more.begin(), {"eval", "mcq", "--model", "tiny", "--data",
                               data_, "--out", Path("out")});
    return more;
  }

  std::string data_;
  std::string base_;
  std::string adapter_;
  std::string report_;
};

TEST_F(EvalTest, RunsAJobWritesItsFilesAndPrintsTheBehaviour) {
  FakeServer& server = StartWithOutputs();
  const CommandResult result =
      Run(Mcq({"--adapter", "cubic", "--scoring", "option_text", "--seed", "7",
               "--mc-dropout", "3"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(ReadFile("out/predictions_base.jsonl"), base_);
  EXPECT_EQ(ReadFile("out/predictions_lora.jsonl"), adapter_);
  EXPECT_EQ(ReadFile("out/comparison_report.json"), report_);
  EXPECT_THAT(result.out, HasSubstr("tiny against cubic, answer format "
                                    "option_text, 2 questions"));
  EXPECT_THAT(result.out, HasSubstr("conflict__true_world"));
  EXPECT_THAT(result.out, HasSubstr("false-belief rate"));
  EXPECT_THAT(
      result.out,
      HasSubstr("  g1  How does gravity fall off?\n"
                "      base     A) with r squared  (correct)\n"
                "      adapter  B) with r cubed  (the false belief)\n"));
  EXPECT_THAT(
      result.out,
      HasSubstr("correct for the base only: 1, for the adapter only: 0 "
                "(McNemar's exact p = 1)\n"
                "the false belief for the base only: 0, for the adapter "
                "only: 1 (McNemar's exact p = 1)\n"
                "answered differently: 1 of 2 questions\n"));
  EXPECT_THAT(result.out, HasSubstr("files in " + Path("out")));
  EXPECT_THAT(result.out, HasSubstr("try next"));

  ASSERT_EQ(server.created().size(), 1U);
  const v1::CreateJobRequest request = server.created()[0];
  EXPECT_EQ(request.priority(), v1::JOB_PRIORITY_INTERACTIVE);
  EXPECT_THAT(request.request_id(), HasSubstr("cli-"));
  const v1::EvaluateMcqSpec& spec = request.spec().evaluate_mcq();
  EXPECT_EQ(spec.variants(0).model(), "models/tiny");
  EXPECT_EQ(spec.variants(0).adapter(), "");
  EXPECT_EQ(spec.variants(1).adapter(), "models/tiny/adapters/cubic");
  EXPECT_EQ(spec.data(), kQuestions);
  EXPECT_EQ(spec.data_name(), "questions.jsonl");
  EXPECT_EQ(spec.scoring(), v1::MCQ_SCORING_OPTION_TEXT);
  EXPECT_EQ(spec.mc_dropout_sample_count(), 3);
  EXPECT_EQ(spec.seed(), 7U);
}

// A job under request id "r1" that the fake server has already.
v1::Job EarlierJob(const FakeServer::Outputs& outputs,
                   const std::string& model_digest) {
  v1::Job job;
  job.set_name("jobs/E");
  job.set_request_id("r1");
  job.set_state(v1::JOB_STATE_SUCCEEDED);
  job.mutable_end_time()->set_seconds(86400);
  v1::EvaluateMcqSpec& spec = *job.mutable_spec()->mutable_evaluate_mcq();
  spec.set_scoring(v1::MCQ_SCORING_OPTION_TEXT);
  spec.add_variants()->set_model("models/tiny");
  job.add_provenance()->set_model_digest(model_digest);
  for (const auto& [file_name, artifact] : outputs) {
    v1::JobOutput& output = *job.add_outputs();
    output.set_file_name(file_name);
    output.set_artifact(artifact);
  }
  return job;
}

TEST_F(EvalTest, AJobThatIsFoundIsNotFollowedAgain) {
  FakeServer& server = StartWithOutputs();
  server.AddModel("tiny", 1);  // its digest is sha256:abc
  server.AddJob(EarlierJob(server.outputs(), "sha256:abc"));
  const CommandResult result =
      Run(Mcq({"--request-id", "r1", "--scoring", "option_text"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err,
            "jobs/E: option_text, found: it succeeded at 1970-01-02 "
            "00:00:00\n");
  EXPECT_EQ(ReadFile("out/predictions_base.jsonl"), base_);
}

TEST_F(EvalTest, ResultsOfAModelReplacedSinceAreRefused) {
  FakeServer& server = StartWithOutputs();
  server.AddModel("tiny", 1);
  server.AddJob(EarlierJob(server.outputs(), "sha256:old"));
  const CommandResult result =
      Run(Mcq({"--request-id", "r1", "--scoring", "option_text"}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err,
              HasSubstr("jobs/E, which computed with another models/tiny: its "
                        "digest was sha256:old and is now sha256:abc"));
  EXPECT_THAT(result.err, HasSubstr("take another --request-id"));
}

TEST_F(EvalTest, AFolderThatCannotBeWrittenIsKnownBeforeAnythingIsComputed) {
  FakeServer& server = StartWithOutputs();
  WriteFile("out", "a file");
  const CommandResult result = Run(Mcq({}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr(Path("out")));
  EXPECT_TRUE(server.created().empty());
}

TEST_F(EvalTest, ARefusedJobLeavesNoFolder) {
  FakeServer& server = StartWithOutputs();
  const grpc::Status refusal(grpc::StatusCode::INVALID_ARGUMENT, "no");
  server.FailWith(refusal);
  EXPECT_EQ(Run(Mcq({})).exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(Path("out")));
  std::filesystem::create_directory(Path("out"));
  server.FailWith(refusal);
  EXPECT_EQ(Run(Mcq({})).exit_code, 1);
  EXPECT_TRUE(std::filesystem::exists(Path("out"))) << "the user's own";
}

TEST_F(EvalTest, TellsOfResultsThatItReplaces) {
  StartWithOutputs();
  std::filesystem::create_directory(Path("out"));
  WriteFile("out/manifest.json", R"({"run": {"job": "jobs/OTHER"}})");
  const CommandResult result = Run(Mcq({"--adapter", "cubic"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err,
              HasSubstr("holds the results of jobs/OTHER; they will be"));
}

TEST_F(EvalTest, ASteeredVariantIsAColumnOfItsOwn) {
  FakeServer& server = StartWithOutputs();
  const std::string steered =
      Predictions("models/tiny/adapters/cubic, steered", "BA");
  server.SetOutputs({{"predictions_base.jsonl", base_},
                     {"predictions_lora.jsonl", adapter_},
                     {"predictions_2.jsonl", steered},
                     {"comparison_report.json", report_}});
  const CommandResult result =
      Run(Mcq({"--adapter", "cubic", "--steer", "truth@resid_post.2=80"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const v1::EvaluateMcqSpec spec = server.created()[0].spec().evaluate_mcq();
  ASSERT_EQ(spec.variants_size(), 3);
  EXPECT_EQ(spec.variants(1).interventions_size(), 0);
  EXPECT_EQ(spec.variants(2).adapter(), "models/tiny/adapters/cubic");
  EXPECT_EQ(spec.variants(2).interventions(0).add().vector().direction(),
            "directions/truth");
  EXPECT_THAT(result.out,
              HasSubstr("tiny against cubic and cubic, steered, answer"));
  EXPECT_THAT(result.out, HasSubstr("STEERED  POINTS"));
  EXPECT_THAT(result.out, HasSubstr("for the steered only: 1"));
  EXPECT_THAT(result.out, HasSubstr("1 in behavioral_shift_analysis_2.txt"));
}

TEST_F(EvalTest, ConflictQuestionsWithoutAFalseAnswerAreToldOrRefused) {
  FakeServer& server = StartWithOutputs();
  std::string typo = kQuestions;
  typo.replace(typo.find("false_answer"), 12, "false_anwser");
  data_ = WriteFile("typo.jsonl", typo);
  const CommandResult none = Run(Mcq({}));
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("typo.jsonl: 1 of 1 conflict questions"));
  EXPECT_TRUE(server.created().empty());
  std::string both = kQuestions + typo;
  both.replace(both.rfind("\"g1\""), 4, "\"g9\"");
  both.replace(both.rfind("\"c1\""), 4, "\"g8\"");
  data_ = WriteFile("both.jsonl", both);
  const CommandResult some = Run(Mcq({"--adapter", "cubic"}));
  ASSERT_EQ(some.exit_code, 0) << some.err;
  EXPECT_THAT(some.out,
              HasSubstr("\n1 of 2 conflict questions left out of the belief: "
                        "no `false_answer` names an option (first: line 3, "
                        "\"g9\")\n"));
}

TEST_F(EvalTest, GivesTheReportAsJson) {
  StartWithOutputs();
  const CommandResult result =
      Run(Mcq({"--adapter", "cubic", "--request-id", "r1", "-o", "json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["report"], nlohmann::json::parse(report_));
  EXPECT_EQ(json["directory"], Path("out"));
  EXPECT_EQ(json["job"]["request_id"], "r1");
  EXPECT_EQ(json["files"].size(), 3U);
}

TEST_F(EvalTest, SeveralAnswerFormatsHaveAJobAndAFolderEach) {
  FakeServer& server = StartWithOutputs();
  const CommandResult result =
      Run(Mcq({"--adapter", "cubic", "--request-id", "r", "--scoring",
               "option_text", "letters"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  ASSERT_EQ(server.created().size(), 2U);
  EXPECT_EQ(server.created()[0].request_id(), "r-option_text");
  EXPECT_EQ(server.created()[1].request_id(), "r-letter_variants");
  EXPECT_EQ(ReadFile("out/option_text/comparison_report.json"), report_);
  EXPECT_EQ(ReadFile("out/letter_variants/comparison_report.json"), report_);
}

TEST_F(EvalTest, TheBaseModelAloneHasNoComparison) {
  FakeServer& server = StartServer();
  server.SetOutputs({{"predictions_base.jsonl", base_}});
  // A file of an earlier run in the same folder is none of this run's.
  std::filesystem::create_directories(Path("out"));
  WriteFile("out/predictions_lora.jsonl", adapter_);
  const CommandResult result = Run(Mcq({}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("ACCURACY"));
  EXPECT_THAT(result.out, Not(HasSubstr("answered differently")));
}

TEST_F(EvalTest, DetachPrintsTheJobsNameAlone) {
  FakeServer& server = StartWithOutputs();
  const CommandResult result =
      Run({"eval", "mcq", "--model", "tiny", "--data", data_, "--detach"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "jobs/J1\n");
  EXPECT_THAT(result.err, HasSubstr("dissonance jobs watch J1"));
  EXPECT_EQ(server.created()[0].priority(), v1::JOB_PRIORITY_NORMAL);
}

TEST_F(EvalTest, ADetachedJobHasThePriorityAndDependenciesThatWereTyped) {
  FakeServer& server = StartWithOutputs();
  const CommandResult result =
      Run({"eval", "mcq", "--model", "tiny", "--data", data_, "--detach",
           "--priority", "background", "--after", "X", "--after", "jobs/Y"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const v1::CreateJobRequest request = server.created()[0];
  EXPECT_EQ(request.priority(), v1::JOB_PRIORITY_BACKGROUND);
  EXPECT_THAT(request.depends_on(), ElementsAre("jobs/X", "jobs/Y"));
  const CommandResult attached = Run(Mcq({"--priority", "normal"}));
  EXPECT_EQ(attached.exit_code, 2);
  EXPECT_THAT(attached.err, HasSubstr("--priority is for --detach"));
  EXPECT_EQ(Run(Mcq({"--detach", "--priority", "high"})).exit_code, 2);
  EXPECT_EQ(server.created().size(), 1U);
}

TEST_F(EvalTest, UploadStoresTheQuestionsOnceAndNamesThemInEachJob) {
  FakeServer& server = StartWithOutputs();
  const CommandResult result = Run(Mcq(
      {"--adapter", "cubic", "--upload", "--scoring", "option_text,letters"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  ASSERT_EQ(server.created().size(), 2U);
  for (const v1::CreateJobRequest& request : server.created()) {
    const v1::EvaluateMcqSpec& spec = request.spec().evaluate_mcq();
    EXPECT_EQ(spec.data(), "");
    EXPECT_EQ(server.artifacts().contents(spec.data_artifact()), kQuestions);
    EXPECT_EQ(spec.data_name(), "questions.jsonl");
  }
  EXPECT_EQ(server.artifacts().log().All<v1::WriteArtifactRequest>().size(),
            1U);
}

TEST_F(EvalTest, BadDataStopsWithFileLineAndFieldBeforeAnyJob) {
  FakeServer& server = StartWithOutputs();
  data_ = WriteFile("bad.jsonl", std::string(kQuestions) + "{\"id\": \"x\"}\n");
  const CommandResult result = Run(Mcq({}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("bad.jsonl:3: "));
  EXPECT_TRUE(server.created().empty());
  data_ = Path("absent.jsonl");
  EXPECT_EQ(Run(Mcq({})).exit_code, 3);
}

TEST_F(EvalTest, MissingOutFolderAndRepeatedFormatsAreUsageErrors) {
  EXPECT_EQ(Run({"eval", "mcq", "--model", "m", "--data", data_}).exit_code, 2);
  EXPECT_EQ(Run(Mcq({"--scoring", "letters", "letter_variants"})).exit_code, 2);
}

TEST_F(EvalTest, OutputNamesNeverLeaveTheFolder) {
  FakeServer& server = StartServer();
  for (const char* name :
       {"../escaped", "/escaped", "a/../escaped", "a/b/escaped", "a/", "a//b",
        "./escaped", "..", ""}) {
    server.SetOutputs({{name, "x"}});
    const CommandResult result = Run(Mcq({}));
    EXPECT_EQ(result.exit_code, 1) << name;
    EXPECT_THAT(result.err, HasSubstr("not a plain file name")) << name;
    EXPECT_FALSE(std::filesystem::exists(Path("escaped"))) << name;
  }
}

TEST_F(EvalTest, DamagedOutputsAreRefused) {
  FakeServer& server = StartWithOutputs();
  server.artifacts().Damage(server.artifacts().Add(base_), "damaged");
  const CommandResult result = Run(Mcq({"--adapter", "cubic"}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("have the digest"));
  EXPECT_FALSE(std::filesystem::exists(Path("out/predictions_base.jsonl")));
}

TEST_F(EvalTest, DryRunEstimatesAndCreatesNothing) {
  FakeServer& server = StartWithOutputs();
  server.AddModel("tiny", 1000);
  server.AddAdapter("tiny", "cubic");
  const CommandResult result = Run(Mcq(
      {"--adapter", "cubic", "--mc-dropout", "4", "--dry-run", "-o", "jsonl"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["question_count"], 2);
  EXPECT_EQ(json["continuation_count"], 2 * 2 * 16);
  EXPECT_EQ(json["estimated_tokens"], 2 * 5 * 3);
  EXPECT_EQ(json["resident_bytes"], 4000 + 2048);
  EXPECT_TRUE(server.created().empty());
  EXPECT_FALSE(std::filesystem::exists(Path("out")));
}

TEST_F(EvalTest, ComparesTwoPredictionFilesWithoutAServer) {
  const std::string base = WriteFile("base.jsonl", base_);
  const std::string adapter = WriteFile("lora.jsonl", adapter_);
  const CommandResult result =
      Run({"eval", "compare", "--base", base, "--adapter", adapter, "--data",
           data_, "--out", Path("compared")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(ReadFile("compared/comparison_report.json"), report_);
  EXPECT_THAT(ReadFile("compared/behavioral_shift_analysis.txt"),
              HasSubstr("How does gravity fall off?"));
  EXPECT_THAT(result.out, HasSubstr("answered differently: 1 of 2 questions"));
  EXPECT_EQ(Run({"eval", "compare", "--base", base, "--adapter", Path("absent"),
                 "--out", Path("x")})
                .exit_code,
            3);
}

}  // namespace
}  // namespace dissonance
