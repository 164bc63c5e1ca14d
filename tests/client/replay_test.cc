// Running a job again, and what two jobs differ in.
#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ReplayTest : public CliTest {
 protected:
  FakeServer& StartWithJob() {
    FakeServer& server = StartServer();
    v1::Job job;
    job.set_name("jobs/A");
    job.set_state(v1::JOB_STATE_SUCCEEDED);
    server.AddJob(job);
    return server;
  }

  static void AddOutput(v1::CompareJobsResponse& comparison,
                        const std::string& file, const std::string& first,
                        const std::string& second, bool names_run = false) {
    v1::ComparedOutput& output = *comparison.add_outputs();
    output.set_file_name(file);
    output.set_first(first.empty() ? "" : "artifacts/sha256:" + first);
    output.set_second(second.empty() ? "" : "artifacts/sha256:" + second);
    output.set_equal(first == second);
    output.set_names_run(names_run);
  }

  static v1::CompareJobsResponse Same() {
    v1::CompareJobsResponse comparison;
    AddOutput(comparison, "manifest.json", "m1", "m2", /*names_run=*/true);
    AddOutput(comparison, "summary.json", "aa", "aa");
    comparison.set_same_outputs(true);
    return comparison;
  }

  static v1::CompareJobsResponse Different() {
    v1::CompareJobsResponse comparison = Same();
    AddOutput(comparison, "predictions.jsonl", "p1", "p2");
    AddOutput(comparison, "extra.json", "", "ee");
    comparison.set_same_outputs(false);
    v1::JobDifference& seed = *comparison.add_inputs();
    seed.set_field("spec.evaluate_mcq.seed");
    seed.set_first("1");
    v1::JobDifference& adapter = *comparison.add_provenance();
    adapter.set_field("provenance[1].adapter_digest");
    adapter.set_first("sha256:" + std::string(64, '3'));
    adapter.set_second("sha256:" + std::string(64, '4'));
    return comparison;
  }
};

TEST_F(ReplayTest, AReplayThatGivesTheSameFilesSaysSoAndEndsWell) {
  FakeServer& server = StartWithJob();
  server.SetComparison(Same());
  const CommandResult result = Run({"replay", "A"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out,
            "FILE           RESULT\n"
            "manifest.json  differs, as it names its run\n"
            "summary.json   same\n");
  EXPECT_THAT(result.err, HasSubstr("jobs/R1, a replay of jobs/A\n"));
  const auto replay = server.log().Last<v1::ReplayJobRequest>();
  EXPECT_EQ(replay.name(), "jobs/A");
  EXPECT_EQ(replay.priority(), v1::JOB_PRIORITY_INTERACTIVE);
  EXPECT_THAT(replay.request_id(), HasSubstr("cli-"));
  const auto compare = server.log().Last<v1::CompareJobsRequest>();
  EXPECT_EQ(compare.first_job(), "jobs/A");
  EXPECT_EQ(compare.second_job(), "jobs/R1");
}

TEST_F(ReplayTest, AReplayThatDiffersNamesTheFilesAndWhatChanged) {
  StartWithJob().SetComparison(Different());
  const CommandResult result = Run({"replay", "jobs/A"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, HasSubstr("predictions.jsonl  differs\n"
                                    "extra.json         in the second job "
                                    "only\n"));
  EXPECT_THAT(result.out, HasSubstr("spec.evaluate_mcq.seed        1"));
  EXPECT_THAT(result.out,
              HasSubstr("provenance[1].adapter_digest  sha256:333333333333"));
  EXPECT_THAT(result.err,
              HasSubstr("error: jobs/R1 gives other files than jobs/A: "
                        "predictions.jsonl, extra.json\n"
                        "  what changed in between is listed above\n"));
}

TEST_F(ReplayTest, AReplayThatDiffersThoughNothingChangedSaysWhatToCheck) {
  v1::CompareJobsResponse comparison = Different();
  comparison.clear_inputs();
  comparison.clear_provenance();
  StartWithJob().SetComparison(comparison);
  const CommandResult result = Run({"replay", "A"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, HasSubstr("they were asked the same, and the same "
                                    "computed them\n"));
  EXPECT_THAT(result.err, HasSubstr("dissonance models selfcheck"));
}

TEST_F(ReplayTest, JsonHasTheJobAndTheComparison) {
  StartWithJob().SetComparison(Different());
  const CommandResult result = Run({"replay", "A", "-o", "json"});
  EXPECT_EQ(result.exit_code, 1);
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["job"]["replay_of"], "jobs/A");
  EXPECT_EQ(json["comparison"]["same_outputs"], false);
}

TEST_F(ReplayTest, DetachPrintsTheNewJobsNameAlone) {
  FakeServer& server = StartWithJob();
  const CommandResult result = Run({"replay", "A", "--detach"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "jobs/R1\n");
  EXPECT_THAT(result.err, HasSubstr("dissonance jobs watch R1\n"));
  EXPECT_THAT(result.err, HasSubstr("dissonance jobs diff A R1\n"));
  EXPECT_EQ(server.log().Last<v1::ReplayJobRequest>().priority(),
            v1::JOB_PRIORITY_NORMAL);
  EXPECT_TRUE(server.log().All<v1::CompareJobsRequest>().empty());
}

TEST_F(ReplayTest, IsAskedForAgainWhileTheServerIsAway) {
  FakeServer& server = StartWithJob();
  server.SetComparison(Same());
  server.FailWith({grpc::StatusCode::UNAVAILABLE, "restarting"});
  EXPECT_EQ(Run({"replay", "A"}).exit_code, 0);
}

TEST_F(ReplayTest, AReplayThatFailsIsNotCompared) {
  FakeServer& server = StartServer();
  v1::Job job;
  job.set_name("jobs/F");
  job.set_state(v1::JOB_STATE_FAILED);
  job.set_reason("out of memory");
  server.AddJob(job);
  const CommandResult result = Run({"replay", "F"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("jobs/R1 failed: out of memory"));
  EXPECT_TRUE(server.log().All<v1::CompareJobsRequest>().empty());
  EXPECT_EQ(Run({"replay", "ghost"}).exit_code, 3);
  EXPECT_EQ(Run({"replay"}).exit_code, 2);
}

TEST_F(ReplayTest, DiffShowsWhatDiffersAndEndsWell) {
  StartWithJob().SetComparison(Different());
  const CommandResult result = Run({"jobs", "diff", "A", "B"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(
      result.out,
      "PART        FIELD                         A                    B\n"
      "input       spec.evaluate_mcq.seed        1                    -\n"
      "provenance  provenance[1].adapter_digest  sha256:333333333333  "
      "sha256:444444444444\n"
      "\n"
      "FILE               RESULT                        A          B\n"
      "manifest.json      differs, as it names its run  sha256:m1  sha256:m2\n"
      "summary.json       same                          sha256:aa  sha256:aa\n"
      "predictions.jsonl  differs                       sha256:p1  sha256:p2\n"
      "extra.json         in the second job only        -          "
      "sha256:ee\n");
  const auto json =
      nlohmann::json::parse(Run({"jobs", "diff", "A", "B", "-o", "json"}).out);
  EXPECT_EQ(json["provenance"][0]["first"], "sha256:" + std::string(64, '3'));
  EXPECT_EQ(json["outputs"].size(), 4U);
  EXPECT_EQ(Run({"jobs", "diff", "A"}).exit_code, 2);
}

TEST_F(ReplayTest, DiffSaysWhenNothingDiffersAndShortensLongValues) {
  FakeServer& server = StartWithJob();
  v1::CompareJobsResponse comparison;
  server.SetComparison(comparison);
  EXPECT_EQ(Run({"jobs", "diff", "A", "B"}).out,
            "they were asked the same, and the same computed them\n"
            "\n"
            "neither has files\n");
  v1::JobDifference& difference = *comparison.add_inputs();
  difference.set_field("f");
  difference.set_first(std::string(100, 'x'));
  difference.set_second("line\nbreak");
  server.SetComparison(comparison);
  const std::string out = Run({"jobs", "diff", "A", "B"}).out;
  EXPECT_THAT(out, HasSubstr(std::string(45, 'x') + "...  line break\n"));
  EXPECT_THAT(out, Not(HasSubstr(std::string(46, 'x'))));
}

}  // namespace
}  // namespace dissonance
