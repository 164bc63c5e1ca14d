#include "src/lab/report/report_stage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

v1::Job McqJob() {
  v1::Job job;
  job.set_name("jobs/A");
  job.set_code_version("0.1.0 (abc)");
  v1::EvaluateMcqSpec& spec = *job.mutable_spec()->mutable_evaluate_mcq();
  spec.set_data("a lot");
  spec.set_data_name(std::string(300, 'n'));
  spec.set_seed(3);
  for (const char* name : {"summary.json", "manifest.json"}) {
    v1::JobOutput& output = *job.add_outputs();
    output.set_file_name(name);
    output.set_artifact("artifacts/sha256:aa");
    output.set_names_run(std::string(name) == "manifest.json");
  }
  return job;
}

TEST(ReportStageTest, HasNeitherDataNorWhatNamesTheRun) {
  const ReportStage stage = StageOf("mcq", McqJob());
  EXPECT_TRUE(stage.spec.evaluate_mcq().data().empty());
  EXPECT_EQ(stage.spec.evaluate_mcq().seed(), 3U);
  EXPECT_THAT(stage.digests, ElementsAre(Pair("summary.json", "sha256:aa")));
  EXPECT_EQ(stage.code_version, "0.1.0 (abc)");
}

TEST(ReportStageTest, SettingsGiveLongTextsByTheirLength) {
  const nlohmann::json settings = SettingsJson(StageOf("mcq", McqJob()));
  EXPECT_EQ(settings["evaluateMcq"]["dataName"], "(300 characters)");
  EXPECT_EQ(settings["evaluateMcq"]["seed"], "3");
}

TEST(ReportStageTest, KindsHaveTheNameOfTheirField) {
  EXPECT_EQ(KindName(McqJob().spec()), "evaluate_mcq");
  EXPECT_EQ(KindName(v1::JobSpec()), "unknown");
  EXPECT_EQ(KindTitle(v1::JobSpec::kTrainProbes), "Probes");
}

TEST(ReportStageTest, GatesSurviveTheirFile) {
  const std::vector<GateVerdict> gates = {
      {.gate = "causal",
       .stage = "steer",
       .status = GateStatus::kAbort,
       .text = "no setting returns half",
       .figures = {{"null", 0.25}, {"share", 0.125}},
       .is_forced = true},
      {.gate = "behaviour",
       .stage = "mcq",
       .status = GateStatus::kWarn,
       .text = "little",
       .figures = {}}};
  const auto read = ReadGates(GatesFile(gates));
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 2U);
  EXPECT_EQ((*read)[0].status, GateStatus::kAbort);
  EXPECT_THAT((*read)[0].figures,
              ElementsAre(Pair("null", 0.25), Pair("share", 0.125)));
  EXPECT_TRUE((*read)[0].is_forced);
  EXPECT_EQ((*read)[1].status, GateStatus::kWarn);
  EXPECT_FALSE((*read)[1].is_forced);
}

TEST(ReportStageTest, StagesSurviveTheirFile) {
  const auto read = ReadStages(StagesFile({{.name = "mcq",
                                            .job = "jobs/A",
                                            .kind = "evaluate_mcq",
                                            .state = "SUCCEEDED"}}));
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 1U);
  EXPECT_EQ((*read)[0].job, "jobs/A");
  EXPECT_EQ((*read)[0].state, "SUCCEEDED");
}

TEST(ReportStageTest, AFileOfAnotherFormIsSaidToBeOne) {
  for (const char* text :
       {"{}", "[", "{\"gates\": [{}]}", "{\"stages\": 1, \"gates\": 1}"}) {
    const auto gates = ReadGates(text);
    EXPECT_EQ(gates.status().code(), absl::StatusCode::kDataLoss) << text;
    EXPECT_THAT(std::string(gates.status().message()), HasSubstr("gates.json"));
  }
  EXPECT_EQ(ReadStages("{}").status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace dissonance
