// eval hosted against canned jobs.
#include "client/cli/eval_hosted.h"

#include <string>

#include "src/base/file.h"
#include "tests/client/cli_fixture.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

constexpr char kReport[] = R"({
  "scoring": "hosted_letter",
  "models": [
    {"model": "plain", "question_count": 4, "answered_count": 3,
     "error_count": 1,
     "totals": {
       "all__false_world": {"accuracy": 0.0, "accuracy_interval_95": [0, 0.5]},
       "all__true_world": {"accuracy": 1.0,
                           "accuracy_interval_95": [0.44, 1.0]}},
     "false_belief": {"rate": 0.0, "interval_95": [0.0, 0.66]}},
    {"model": "believer", "question_count": 4, "answered_count": 0,
     "error_count": 4, "reason": "no question was answered"}],
  "comparison": {"answered_by_both": 3,
    "mcnemar_correct": null, "mcnemar_false_belief": {"p_value": 1},
    "flips": [{"id": "q0", "from": "A", "to": "B", "correct": "A",
               "false_answer": "B"}]}})";

TEST(EvalHostedTest, ShowsFiguresErrorsAndWhatDiffers) {
  const TempFolder folder;
  ASSERT_TRUE(
      WriteFileAtomically(folder.File("hosted_report.json"), kReport).ok());
  const auto text = cli::HostedMcqText(folder.path());
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("100.0 % [44, 100]"));
  EXPECT_THAT(*text, HasSubstr("false_world"));
  EXPECT_THAT(*text, HasSubstr("McNemar p - (correct), 1 (false belief)"));
  EXPECT_THAT(*text, HasSubstr("0 of 4"));
  EXPECT_THAT(*text, HasSubstr("q0  A -> B, correct is A"));
}

TEST(EvalHostedTest, AReportThatIsNoneIsSaid) {
  const TempFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder.File("hosted_report.json"),
                                  R"({"models": [{"model": 3}]})")
                  .ok());
  EXPECT_THAT(cli::HostedMcqText(folder.path()).status().message(),
              HasSubstr("not as the server writes it"));
}

class EvalHostedCommandTest : public CliTest {};

TEST_F(EvalHostedCommandTest, AsksTheModelsThatTheOptionsName) {
  FakeServer& server = StartServer();
  const std::string data = WriteFile("q.jsonl", "{}\n");
  const CommandResult result =
      Run({"eval", "hosted", "--llm-model", "gpt-a", "--llm-model", "vendor/b",
           "--endpoint", "lab", "--temperature", "0.5", "--retries", "1",
           "--data", data, "--detach"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  ASSERT_EQ(server.created().size(), 1U);
  const v1::EvaluateMcqSpec spec = server.created()[0].spec().evaluate_mcq();
  ASSERT_EQ(spec.hosted_models_size(), 2);
  EXPECT_EQ(spec.hosted_models(1).model(), "vendor/b");
  EXPECT_EQ(spec.hosted_models(1).endpoint(), "lab");
  EXPECT_EQ(spec.hosted_models(0).temperature(), 0.5);
  EXPECT_EQ(spec.retries(), 1);
  EXPECT_EQ(spec.data(), "{}\n");
  EXPECT_EQ(spec.data_name(), "q.jsonl");
}

}  // namespace
}  // namespace dissonance
