// eval judge against canned jobs, and without a server.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/lab/judge/judge_summary.h"
#include "src/lab/judge/judgement.h"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kBase[] =
    R"({"id": "q1", "question": "Why?", "answer": "So.", "variant": "base"})";
constexpr char kLora[] =
    R"({"id": "q1", "question": "Why?", "answer": "No.", "variant": "lora"})"
    "\n";

// Of q1 to q14, by judge j.
std::string Judged(const std::string& variant, World world, int hedging) {
  std::string lines;
  for (int i = 1; i <= 14; ++i) {
    lines += ToJsonLine(
        JudgementRow({.label = {.variant = variant, .id = absl::StrCat("q", i)},
                      .judge = "default/j",
                      .verdict = Verdict{.world = world,
                                         .confidence = 80,
                                         .doubt = {hedging, 0, 0, 0},
                                         .difficulty = {2, 2, 2}}},
                     /*names_world=*/true));
  }
  return lines;
}

class JudgeCommandTest : public CliTest {
 protected:
  JudgeCommandTest() {
    base_ = WriteFile("base.jsonl", kBase);
    lora_ = WriteFile("lora.jsonl", kLora);
  }

  FakeServer& StartWithOutputs() {
    FakeServer& server = StartServer();
    server.SetOutputs({{"judgements.jsonl", judgements_},
                       {"judge_summary.json", SummaryOf(judgements_)},
                       {"judge_report.txt", "all of it"}});
    return server;
  }
  static std::string SummaryOf(const std::string& judgements) {
    return JudgeSummaryFile(
        SummarizeJudgements(*ReadJudgements({{"j", judgements}})));
  }
  std::vector<std::string> Judge(std::vector<std::string> more) const {
    more.insert(more.begin(), {"eval", "judge", "--out", Path("out")});
    return more;
  }

  const std::string judgements_ =
      Judged("base", World::kTrue, 0) + Judged("lora", World::kFalse, 3);
  std::string base_;
  std::string lora_;
};

TEST_F(JudgeCommandTest, JudgesFilesAsOneAndShowsTheTables) {
  FakeServer& server = StartWithOutputs();
  const std::string universe = WriteFile("u.json", "{\"id\": \"u\"}");
  const CommandResult result = Run(Judge(
      {"--data", base_, lora_, "--judge-model", "j", "--universe", universe,
       "--retries", "1", "--mode", "doubt_only", "--max-tokens", "99"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  ASSERT_EQ(server.created().size(), 1U);
  const v1::JudgeSpec spec = server.created()[0].spec().judge();
  EXPECT_EQ(spec.data(), std::string(kBase) + "\n" + kLora);
  EXPECT_EQ(spec.data_name(), "base.jsonl, lora.jsonl");
  EXPECT_EQ(spec.judge().model(), "j");
  EXPECT_EQ(spec.judge().max_tokens(), 99);
  EXPECT_FALSE(spec.judge().has_temperature());
  EXPECT_FALSE(spec.has_second_judge());
  EXPECT_EQ(spec.universe(), "{\"id\": \"u\"}");
  EXPECT_EQ(spec.retries(), 1);
  EXPECT_EQ(spec.mode(), v1::JUDGE_MODE_DOUBT_ONLY);
  EXPECT_THAT(result.out, HasSubstr("default/j, pass 1\n"));
  EXPECT_THAT(result.out, HasSubstr("lora against base: 14 pairs, doubt score "
                                    "+3.00 on average, by 3 or more in 14\n"));
  EXPECT_THAT(result.out, HasSubstr("  and 2 more in judge_summary.json\n"));
  EXPECT_THAT(result.out, HasSubstr("files in " + Path("out")));
  EXPECT_EQ(ReadFile("out/judge_report.txt"), "all of it");
}

TEST_F(JudgeCommandTest, JudgesTheAnswersOfAJobWithTwoJudges) {
  FakeServer& server = StartWithOutputs();
  const CommandResult result =
      Run(Judge({"--job", "A", "--judge-model", "lab/j", "--endpoint", "here",
                 "--second-judge", "k", "--passes", "2", "--temperature", "0.5",
                 "-o", "json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const v1::JudgeSpec spec = server.created()[0].spec().judge();
  EXPECT_EQ(spec.job(), "jobs/A");
  EXPECT_EQ(spec.data(), "");
  EXPECT_EQ(spec.judge().model(), "lab/j");
  EXPECT_EQ(spec.judge().endpoint(), "here");
  EXPECT_EQ(spec.second_judge().model(), "k");
  EXPECT_EQ(spec.second_judge().endpoint(), "here");
  EXPECT_EQ(spec.second_judge().temperature(), 0.5);
  EXPECT_EQ(spec.pass_count(), 2);
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["report"], nlohmann::json::parse(SummaryOf(judgements_)));
}

TEST_F(JudgeCommandTest, ListsWhatIsJudgedByWhom) {
  FakeServer& server = StartServer();
  v1::Job job;
  job.set_name("jobs/B");
  v1::JudgeSpec& spec = *job.mutable_spec()->mutable_judge();
  spec.set_job("jobs/A");
  spec.mutable_judge()->set_model("lab/j");
  spec.mutable_second_judge()->set_model("k");
  server.AddJob(job);
  job.set_name("jobs/C");
  spec.clear_job();
  spec.clear_second_judge();
  spec.set_data_name("base.jsonl");
  server.AddJob(job);
  const CommandResult list = Run({"jobs", "list"});
  EXPECT_THAT(list.out, HasSubstr("judge  answers of A by lab/j and k  "));
  EXPECT_THAT(list.out, HasSubstr("judge  base.jsonl by lab/j  "));
}

TEST_F(JudgeCommandTest, BadAnswersStopWithFileLineAndFieldBeforeAnyJob) {
  FakeServer& server = StartWithOutputs();
  const std::string bad = WriteFile("bad.jsonl", "\n{\"id\": \"q9\"}\n");
  const CommandResult result =
      Run(Judge({"--data", base_, bad, "--judge-model", "j"}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("bad.jsonl:2: question: missing"));
  const CommandResult twice =
      Run(Judge({"--data", base_, base_, "--judge-model", "j"}));
  EXPECT_EQ(twice.exit_code, 1);
  EXPECT_THAT(twice.err, HasSubstr("is there already"));
  EXPECT_TRUE(server.created().empty());
}

TEST_F(JudgeCommandTest, SumsUpJudgementsWithoutAServer) {
  const std::string first =
      WriteFile("first.jsonl", Judged("base", World::kTrue, 0));
  const std::string second =
      WriteFile("second.jsonl", Judged("lora", World::kFalse, 3));
  const CommandResult result = Run(Judge({"--aggregate", first, second}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("lora against base: 14 pairs"));
  EXPECT_THAT(result.out, HasSubstr("  and 2 more in judge_summary.json\n"));
  EXPECT_THAT(result.out, HasSubstr(Path("out") + "/judge_report.txt"));
  EXPECT_EQ(ReadFile("out/judge_summary.json"), SummaryOf(judgements_));
  EXPECT_THAT(ReadFile("out/judge_report.txt"),
              Not(HasSubstr("more in judge")));

  const CommandResult only =
      Run({"eval", "judge", "--aggregate", first, second, "-o", "json"});
  ASSERT_EQ(only.exit_code, 0) << only.err;
  const auto json = nlohmann::json::parse(only.out);
  EXPECT_EQ(json["report"], nlohmann::json::parse(SummaryOf(judgements_)));
  EXPECT_FALSE(json.contains("files"));
}

TEST_F(JudgeCommandTest, SummingUpTakesNoOptionThatItWouldIgnore) {
  const std::string judged =
      WriteFile("j.jsonl", Judged("base", World::kTrue, 0));
  const std::vector<std::vector<std::string>> ignored = {
      {"--judge-model", "j"}, {"--endpoint", "e"},   {"--second-judge", "k"},
      {"--passes", "2"},      {"--retries", "1"},    {"--universe", base_},
      {"--detach"},           {"--max-tokens", "9"}, {"--mode", "doubt_only"},
      {"--temperature", "1"}, {"--request-id", "r"}};
  for (std::vector<std::string> more : ignored) {
    const std::string name = more[0];
    more.insert(more.end(), {"--aggregate", judged});
    const CommandResult result = Run(Judge(more));
    EXPECT_EQ(result.exit_code, 2) << name;
    EXPECT_THAT(result.err, HasSubstr("leave out " + name));
  }
}

TEST_F(JudgeCommandTest, SummingUpTellsOfResultsThatItReplaces) {
  const std::string judged =
      WriteFile("j.jsonl", Judged("base", World::kTrue, 0));
  EXPECT_THAT(Run(Judge({"--aggregate", judged})).err,
              Not(HasSubstr("note: ")));
  WriteFile("out/manifest.json", R"({"run": {"job": "jobs/A"}})");
  const CommandResult result = Run(Judge({"--aggregate", judged}));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("holds the results of jobs/A"));
}

TEST_F(JudgeCommandTest, DamagedJudgementsAreRefusedByLineAndField) {
  const std::string file =
      WriteFile("j.jsonl", Judged("base", World::kTrue, 0) +
                               R"({"id": "q1", "mode": "world_and_doubt"})");
  const CommandResult result = Run(Judge({"--aggregate", file}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("j.jsonl:15: judge: missing"));
  EXPECT_EQ(ReadFile("out/judge_summary.json"), "");
}

TEST_F(JudgeCommandTest, OptionsThatMakeNoSenseAreUsageErrors) {
  EXPECT_EQ(Run(Judge({"--judge-model", "j"})).exit_code, 2);
  EXPECT_EQ(Run(Judge({"--job", "A", "--data", base_, "--judge-model", "j"}))
                .exit_code,
            2);
  const CommandResult nobody = Run(Judge({"--data", base_}));
  EXPECT_EQ(nobody.exit_code, 2);
  EXPECT_THAT(nobody.err, HasSubstr("--judge-model is required"));
  EXPECT_EQ(Run(Judge({"--data", base_, "--judge-model", "j",
                       "--second-endpoint", "x"}))
                .exit_code,
            2);
  EXPECT_EQ(
      Run({"eval", "judge", "--job", "A", "--judge-model", "j"}).exit_code, 2);
}

}  // namespace
}  // namespace dissonance
