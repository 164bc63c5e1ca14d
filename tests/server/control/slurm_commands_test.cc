#include "server/control/slurm_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(SlurmCommandsTest, AJobHasEndedOnlyInStatesThatAreAnEnd) {
  for (const char* state :
       {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED",
        "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"}) {
    EXPECT_EQ(SlurmPhaseOf(state), SlurmPhase::kEnded) << state;
  }
  for (const char* state : {"CONFIGURING", "PENDING", "REQUEUED", "REQUEUE_FED",
                            "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}) {
    EXPECT_EQ(SlurmPhaseOf(state), SlurmPhase::kQueued) << state;
  }
  EXPECT_EQ(SlurmPhaseOf("RUNNING"), SlurmPhase::kRunning);
  for (const char* state : {"COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT",
                            "STOPPED", "SUSPENDED", "A_STATE_OF_TOMORROW"}) {
    EXPECT_EQ(SlurmPhaseOf(state), SlurmPhase::kHalted) << state;
  }
}

TEST(SlurmCommandsTest, ReadsTheNumberOfASubmittedJob) {
  EXPECT_EQ(ParseSubmittedJob("4711\n").value_or(""), "4711");
  for (const char* output : {"", "\n", "Submitted batch job 4711\n",
                             "4711;other_cluster\n", "4711\n4712\n", "-1"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseSubmittedJob(output).status()))
        << output;
  }
}

TEST(SlurmCommandsTest, ReadsListedJobs) {
  const auto jobs = ParseJobs(
      "12|RUNNING|None|n1\n"
      "13|PENDING|ReqNodeNotAvail, UnavailableNodes:n[1-2]|\n"
      "14|NODE_FAIL|None|(null)\n");
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  ASSERT_EQ(jobs->size(), 3);
  EXPECT_EQ((*jobs)[0].id, "12");
  EXPECT_EQ((*jobs)[0].phase, SlurmPhase::kRunning);
  EXPECT_EQ((*jobs)[0].reason, "");
  EXPECT_EQ((*jobs)[0].nodes, "n1");
  EXPECT_EQ((*jobs)[1].reason, "ReqNodeNotAvail, UnavailableNodes:n[1-2]");
  EXPECT_EQ((*jobs)[1].nodes, "");
  EXPECT_EQ((*jobs)[2].state, "NODE_FAIL");
  EXPECT_EQ((*jobs)[2].nodes, "");

  const auto none = ParseJobs("");
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_THAT(*none, IsEmpty());
  for (const char* output : {"12", "12|RUNNING|None", "|RUNNING|None|n1",
                             "12||None|n1", "12|RUNNING|None|n1|more"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseJobs(output).status())) << output;
  }
}

// As `scontrol --oneliner show job` of 22.05 prints it, shortened.
std::string Shown(const std::string& state, const std::string& reason,
                  const std::string& exit_code, const std::string& nodes) {
  return absl::StrCat(
      "JobId=1 JobName=w UserId=a(0) Priority=1 JobState=", state,
      " Reason=", reason,
      " Dependency=(null) Requeue=1 Restarts=0 ExitCode=", exit_code,
      " ReqNodeList=(null) ExcNodeList=(null) NodeList=", nodes,
      " BatchHost=n1 Command=(null) Comment=JobState=X \n");
}

TEST(SlurmCommandsTest, SaysHowAJobEnded) {
  const auto end = [](const std::string& state, const std::string& reason,
                      const std::string& exit_code) {
    return ParseShownJob(Shown(state, reason, exit_code, "n1")).value_or("");
  };
  EXPECT_EQ(end("COMPLETED", "None", "0:0"), "exit code 0 on node n1");
  EXPECT_EQ(end("FAILED", "NonZeroExitCode", "7:0"), "exit code 7 on node n1");
  EXPECT_EQ(end("FAILED", "JobLaunchFailure", "0:9"),
            "signal 9 (Killed) on node n1");
  EXPECT_EQ(end("FAILED", "RaisedSignal:53(Real-time_signal_19)", "0:53"),
            "it could not be started: RaisedSignal:53(Real-time_signal_19) on "
            "node n1");
  EXPECT_EQ(end("FAILED", "BadConstraints", "0:0"),
            "it could not be started: BadConstraints on node n1");
  EXPECT_EQ(end("CANCELLED", "None", "0:9"), "cancelled on node n1");
  EXPECT_EQ(end("TIMEOUT", "TimeLimit", "0:0"),
            "its time limit is over on node n1");
  EXPECT_EQ(end("NODE_FAIL", "NodeDown", "0:0"), "its node failed on node n1");
  EXPECT_EQ(end("OUT_OF_MEMORY", "OutOfMemory", "0:125"),
            "out of memory on node n1");
  EXPECT_EQ(
      ParseShownJob(Shown("CANCELLED", "None", "0:0", "(null)")).value_or(""),
      "cancelled");
}

TEST(SlurmCommandsTest, AJobThatGoesOnHasNoEnd) {
  EXPECT_TRUE(absl::IsNotFound(
      ParseShownJob(Shown("RUNNING", "None", "0:0", "n1")).status()));
  EXPECT_TRUE(
      absl::IsNotFound(ParseAccountedJob("REQUEUED|0:0|n1\n").status()));
  EXPECT_TRUE(absl::IsNotFound(ParseAccountedJob("").status()));
}

TEST(SlurmCommandsTest, WhatCannotBeReadIsQuoted) {
  const absl::Status shown = ParseShownJob("slurm \xff").status();
  EXPECT_TRUE(absl::IsInvalidArgument(shown)) << shown;
  EXPECT_THAT(std::string(shown.message()), HasSubstr("slurm \\xff"));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ParseShownJob(Shown("FAILED", "None", "x", "n1")).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(ParseAccountedJob("FAILED|7:0").status()));
}

TEST(SlurmCommandsTest, AccountingKnowsTheLastRunOfAJob) {
  EXPECT_EQ(ParseAccountedJob("NODE_FAIL|0:0|n1\nFAILED|7:0|n2\n").value_or(""),
            "exit code 7 on node n2");
  EXPECT_EQ(
      ParseAccountedJob("CANCELLED by 1000|0:0|None assigned\n").value_or(""),
      "cancelled");
}

}  // namespace
}  // namespace dissonance
