// dissonance pipeline run: what it shows of a pipeline that has ended.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kGate[] =
    R"({"gate": "behaviour", "stage": "mcq", "status": "warn",
        "text": "little", "figures": {}, "forced": false})";

class PipelineRunTest : public CliTest {
 protected:
  // One that failed for `reason` and left this file of gates.
  CommandResult RunFailed(const std::string& reason, const std::string& gates) {
    FakeServer& server = StartServer();
    v1::Job job;
    job.set_name("jobs/P");
    job.set_request_id("mine");
    job.set_state(v1::JOB_STATE_FAILED);
    job.set_reason(reason);
    job.mutable_spec()->mutable_pipeline();
    v1::JobOutput& output = *job.add_outputs();
    output.set_file_name("gates.json");
    output.set_artifact(server.artifacts().Add(gates));
    server.AddJob(job);
    const std::string file =
        WriteFile("p.toml", "[[stages]]\nname = 'm'\n[stages.evaluate_mcq]\n");
    return Run({"pipeline", "run", file, "--out", Path("out"), "--request-id",
                "mine"});
  }
};

TEST_F(PipelineRunTest, AFailedStageIsToldBelowTheGatesThatWereJudged) {
  const CommandResult result = RunFailed(
      "FAILED_PRECONDITION: stage steer: no block 9; mend the file and run it "
      "again",
      std::string(R"({"gates": [)") + kGate +
          R"(], "ended_by": "stage steer, which FAILED: no block 9",
             "not_shown": ["steer", "judge"]})");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, HasSubstr("behaviour  mcq    warn    little\n"));
  EXPECT_THAT(result.out,
              HasSubstr("ended by stage steer, which FAILED: no block 9\n"
                        "not shown: steer, judge\n"));
  EXPECT_THAT(result.out, HasSubstr("out/report.html"));
  EXPECT_THAT(result.err, HasSubstr("mend the file and run it again"));
  EXPECT_THAT(result.err, Not(HasSubstr("jobs retry")));
}

TEST_F(PipelineRunTest, AFirstStageThatFailedLeavesNoGates) {
  const CommandResult result =
      RunFailed("ABORTED: stage train: the disk is full",
                R"({"gates": [], "ended_by": "stage train", "not_shown": []})");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, HasSubstr("no gate was judged\n"));
  EXPECT_THAT(result.err, HasSubstr("dissonance jobs retry P"));
}

TEST_F(PipelineRunTest, AGateThatAbortedHasAnExitCodeOfItsOwn) {
  std::string gate = kGate;
  gate.replace(gate.find("warn"), 4, "abort");
  const CommandResult result = RunFailed(
      "FAILED_PRECONDITION: gate behaviour of mcq: abort: little",
      R"({"gates": [)" + gate +
          R"(], "ended_by": "gate behaviour of mcq", "not_shown": []})");
  EXPECT_EQ(result.exit_code, 6) << result.err;
  EXPECT_THAT(result.out, HasSubstr("ended by gate behaviour of mcq\n"));
}

TEST_F(PipelineRunTest, AModelThatIsNotThereIsToldWithThoseThatAre) {
  FakeServer& server = StartServer();
  server.FailWith({grpc::StatusCode::NOT_FOUND, "no model models/keplr"});
  const std::string file =
      WriteFile("p.toml", "[[stages]]\nname = 'm'\n[stages.evaluate_mcq]\n");
  const CommandResult result =
      Run({"pipeline", "run", file, "--out", Path("out")});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("no model models/keplr\n"));
  EXPECT_THAT(result.err, ::testing::ContainsRegex("loaded are: [a-z]|no model "
                                                   "is loaded"));
}

}  // namespace
}  // namespace dissonance
