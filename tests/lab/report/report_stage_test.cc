#include "src/lab/report/report_stage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
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

TEST(ReportStageTest, HasNoBytesAtAnyDepth) {
  v1::Job job;
  v1::FineTuneSpec& training = *job.mutable_spec()->mutable_fine_tune();
  training.set_data("secret");
  training.set_evaluation_data("secret");
  training.set_data_name("docs.jsonl");
  EXPECT_EQ(SettingsJson(StageOf("train", job)).dump(),
            "{\"fineTune\":{\"dataName\":\"docs.jsonl\"}}");

  job.mutable_spec()->mutable_judge()->set_universe("secret");
  EXPECT_EQ(SettingsJson(StageOf("judge", job)).dump(), "{\"judge\":{}}");

  v1::SweepDirection& direction =
      *job.mutable_spec()->mutable_steering_sweep()->add_directions();
  direction.set_label("truth");
  v1::Tensor& tensor = *direction.mutable_vector()->mutable_tensor();
  tensor.add_shape(2);
  tensor.set_data("secret!!");
  EXPECT_EQ(
      SettingsJson(StageOf("steer", job))["steeringSweep"]["directions"].dump(),
      "[{\"label\":\"truth\",\"vector\":{\"tensor\":{\"shape\":"
      "[\"2\"]}}}]");
}

TEST(ReportStageTest, SaysWhichFilesAreTooLongForAReport) {
  v1::Job job = McqJob();
  job.mutable_outputs(0)->set_size_bytes(kReportFileLimitBytes);
  EXPECT_THAT(StageOf("mcq", job).left_out, IsEmpty());
  job.mutable_outputs(0)->set_size_bytes(kReportFileLimitBytes + 1);
  job.mutable_outputs(1)->set_size_bytes(kReportFileLimitBytes + 1);
  EXPECT_THAT(StageOf("mcq", job).left_out,
              ElementsAre(Pair("summary.json", kReportFileLimitBytes + 1)));
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
  ReportRun run;
  run.gates = {{.gate = "causal",
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
  const auto read = ReadGates(GatesFile(run));
  ASSERT_TRUE(read.ok()) << read.status();
  const std::vector<GateVerdict>& gates = read->gates;
  ASSERT_EQ(gates.size(), 2U);
  EXPECT_EQ(gates[0].status, GateStatus::kAbort);
  EXPECT_THAT(gates[0].figures,
              ElementsAre(Pair("null", 0.25), Pair("share", 0.125)));
  EXPECT_TRUE(gates[0].is_forced);
  EXPECT_EQ(gates[1].status, GateStatus::kWarn);
  EXPECT_FALSE(gates[1].is_forced);
  EXPECT_EQ(read->ended_by, "") << "it was whole";
  run.ended_by = "gate causal of steer";
  run.not_shown = {"probes"};
  const auto cut = ReadGates(GatesFile(run));
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(cut->ended_by, run.ended_by);
  EXPECT_EQ(cut->not_shown, run.not_shown);
}

TEST(ReportStageTest, ReadsTheStagesOfAPipeline) {
  const auto read = ReadStages(
      "{\"stages\": [{\"name\": \"mcq\", \"kind\": \"evaluate_mcq\", "
      "\"job\": \"jobs/A\", \"state\": \"SUCCEEDED\", \"digest\": \"d\"}]}");
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 1U);
  EXPECT_EQ((*read)[0].name, "mcq");
  EXPECT_EQ((*read)[0].job, "jobs/A");
  EXPECT_EQ((*read)[0].state, "SUCCEEDED");
}

TEST(ReportStageTest, NamesStagesInPlaceOfTheirJobs) {
  v1::JobSpec spec;
  spec.mutable_train_probes()->set_activations_job("jobs/A");
  spec.mutable_train_probes()->set_data_name("jobs/A and more");
  NameStages({{.name = "waiting", .job = "", .state = "WAITING"},
              {.name = "activations", .job = "jobs/A", .state = "SUCCEEDED"}},
             spec);
  EXPECT_EQ(spec.train_probes().activations_job(), "stage activations");
  EXPECT_EQ(spec.train_probes().data_name(), "jobs/A and more");
  spec.mutable_judge()->set_job("jobs/OTHER");
  NameStages({{.name = "answers", .job = "jobs/A", .state = "SUCCEEDED"}},
             spec);
  EXPECT_EQ(spec.judge().job(), "jobs/OTHER");
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
