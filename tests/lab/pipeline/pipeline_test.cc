#include "src/lab/pipeline/pipeline.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "src/base/status_macros.h"
#include "tests/lab/eval/fake_compute.h"
#include "tests/lab/pipeline/fake_stage_jobs.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::string Comparison(double base, double adapter) {
  const auto side = [](double rate) {
    return nlohmann::json{{"false_belief", {{"rate", rate}}}};
  };
  return nlohmann::json{{"base", side(base)}, {"adapter", side(adapter)}}
      .dump();
}

// A training, questions to what it makes, and activations for probes.
class PipelineTest : public ::testing::Test {
 protected:
  PipelineTest() {
    v1::PipelineSpec& pipeline = *spec_.mutable_pipeline();
    pipeline.set_title("A title");
    v1::PipelineStage& mcq = *pipeline.add_stages();
    mcq.set_name("mcq");
    mcq.add_gates(v1::GATE_BEHAVIOUR);
    auto& questions = *mcq.mutable_spec()->mutable_evaluate_mcq();
    questions.add_variants()->set_model("models/m");
    v1::Variant& tuned = *questions.add_variants();
    tuned.set_model("models/m");
    tuned.set_adapter("models/m/adapters/a");
    v1::PipelineStage& train = *pipeline.add_stages();
    train.set_name("train");
    auto& training = *train.mutable_spec()->mutable_fine_tune();
    training.set_model("models/m");
    training.set_output_adapter("models/m/adapters/a");
    training.set_data("{}");
    v1::PipelineStage& extract = *pipeline.add_stages();
    extract.set_name("extract");
    *extract.mutable_spec()->mutable_extract_activations()->add_variants() =
        tuned;
    v1::PipelineStage& probes = *pipeline.add_stages();
    probes.set_name("probes");
    probes.mutable_spec()->mutable_train_probes()->set_component_count(2);
    v1::StageInput& input = *probes.add_inputs();
    input.set_field("train_probes.activations_job");
    input.set_stage("extract");
    jobs_.files[v1::JobSpec::kEvaluateMcq] = {
        {"comparison_report.json", Comparison(0.1, 0.9)}};
  }

  absl::Status Run(FakeJob& job) {
    Pipeline kind(jobs_, "0.1.0", jobs_.clock);
    RETURN_IF_ERROR(kind.Validate(spec_));
    return kind.Run(spec_, job);
  }
  v1::PipelineStage& stage(int index) {
    return *spec_.mutable_pipeline()->mutable_stages(index);
  }

  v1::JobSpec spec_;
  FakeStageJobs jobs_;
};

TEST_F(PipelineTest, BeginsAStageWhenWhatItTakesIsThere) {
  FakeJob job;
  ASSERT_TRUE(Run(job).ok());
  ASSERT_EQ(jobs_.created.size(), 4U);
  EXPECT_TRUE(jobs_.created[0].has_fine_tune()) << "the others wait for it";
  const std::string adapter = jobs_.created[0].fine_tune().output_adapter();
  EXPECT_THAT(adapter, StartsWith("models/m/adapters/a-"));
  EXPECT_EQ(adapter.size(), std::string("models/m/adapters/a-").size() + 8);
  EXPECT_EQ(jobs_.created[1].evaluate_mcq().variants(1).adapter(), adapter);
  EXPECT_EQ(jobs_.created[3].train_probes().activations_job(), "jobs/A2");
  EXPECT_THAT(jobs_.ensured, ElementsAre(adapter));
  EXPECT_EQ(job.items.size(), 4U);
  EXPECT_EQ(job.total_counts.back(), 4);
  const auto stages = nlohmann::json::parse(job.outputs.at("stages.json"));
  EXPECT_EQ(stages["stages"][0]["job"], "jobs/A1");
  EXPECT_EQ(stages["stages"][0]["state"], "SUCCEEDED");
  EXPECT_THAT(job.run_outputs, ElementsAre("manifest.json", "stages.json"));
  EXPECT_THAT(job.outputs.at("gates.json"), HasSubstr("\"pass\""));
}

TEST_F(PipelineTest, ChecksBeforeAnythingRunsWhatCanBeChecked) {
  jobs_.refuses_at_once = [](const v1::JobSpec& spec) {
    return spec.has_extract_activations()
               ? absl::InvalidArgumentError("capture.sites: none")
               : absl::OkStatus();
  };
  FakeJob job;
  const absl::Status status = Run(job);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "pipeline.stages[2] (extract): capture.sites: none");
  EXPECT_TRUE(jobs_.created.empty());
  EXPECT_EQ(jobs_.checked[0].evaluate_mcq().variants(1).adapter(), "")
      << "there is none yet";
  jobs_.refuses_at_once = nullptr;
  jobs_.checked.clear();
  ASSERT_TRUE(Run(job).ok());
  EXPECT_EQ(jobs_.checked.size(), 3U) << "the probes have no rows yet";
}

TEST_F(PipelineTest, ChecksBeforeAnythingRunsWhatIsAskedOfOthersResults) {
  auto& extract = *stage(2).mutable_spec()->mutable_extract_activations();
  extract.set_data("{}\n");
  extract.set_scoring(v1::MCQ_SCORING_OPTION_TEXT);
  v1::PipelineStage& fit = *spec_.mutable_pipeline()->add_stages();
  fit.set_name("fit");
  auto& direction = *fit.mutable_spec()->mutable_fit_directions();
  direction.add_variants()->set_model("models/m");
  direction.add_blocks(1);
  v1::PipelineStage& steer = *spec_.mutable_pipeline()->add_stages();
  steer.set_name("steer");
  auto& sweep = *steer.mutable_spec()->mutable_steering_sweep();
  sweep.mutable_variant()->set_adapter("models/m/adapters/a");
  sweep.add_directions();
  sweep.add_blocks(9);
  v1::StageInput& input = *steer.add_inputs();
  input.set_field("steering_sweep.directions[0]");
  input.set_stage("fit");
  jobs_.refuses_at_once = [](const v1::JobSpec& spec) {
    return spec.has_steering_sweep() ? absl::InvalidArgumentError("no block 9")
                                     : absl::OkStatus();
  };
  FakeJob job;
  EXPECT_EQ(Run(job).message(), "pipeline.stages[5] (steer): no block 9");
  EXPECT_TRUE(jobs_.created.empty());
  ASSERT_EQ(jobs_.checked.size(), 6U);
  const v1::TrainProbesSpec& probes = jobs_.checked[3].train_probes();
  EXPECT_EQ(probes.activations_job(), "");
  EXPECT_EQ(probes.data(), "{}\n");
  EXPECT_EQ(probes.scoring(), v1::MCQ_SCORING_OPTION_TEXT);
  ASSERT_EQ(probes.variants_size(), 1);
  EXPECT_EQ(probes.variants(0).adapter(), "") << "there is none yet";
  const v1::SteeringSweepSpec& steered = jobs_.checked[5].steering_sweep();
  EXPECT_EQ(steered.variant().adapter(), "");
  const v1::SweepDirection& one = steered.directions(0);
  EXPECT_EQ(one.label(), "fit");
  ASSERT_EQ(one.vectors_size(), 1);
  EXPECT_EQ(one.vectors(0).place().site(), v1::SITE_RESID_POST);
  EXPECT_EQ(one.vectors(0).place().block(), 1);
  EXPECT_THAT(one.vectors(0).vector().shape(), ElementsAre(3));
  std::string first_is_one(12, '\0');
  first_is_one[2] = '\x80';
  first_is_one[3] = '\x3f';
  EXPECT_EQ(one.vectors(0).vector().data(), first_is_one);
}

TEST_F(PipelineTest, ComputesNothingTwiceAndNamesNoRunInItsResults) {
  FakeJob first;
  ASSERT_TRUE(Run(first).ok());
  FakeJob second;
  ASSERT_TRUE(Run(second).ok());
  EXPECT_EQ(jobs_.created.size(), 4U) << "all were found";
  FakeStageJobs elsewhere;
  elsewhere.prefix = "B";
  elsewhere.files = jobs_.files;
  Pipeline kind(elsewhere, "0.1.0");
  FakeJob third;
  ASSERT_TRUE(kind.Run(spec_, third).ok());
  for (const auto& [name, contents] : first.outputs) {
    if (first.run_outputs.contains(name)) continue;
    EXPECT_EQ(contents, second.outputs.at(name)) << name;
    EXPECT_EQ(contents, third.outputs.at(name)) << name;
    EXPECT_THAT(contents, Not(HasSubstr("jobs/"))) << name;
  }
}

TEST_F(PipelineTest, OnlyWhatDependsOnAChangeIsComputedAgain) {
  FakeJob first;
  ASSERT_TRUE(Run(first).ok());
  stage(3).mutable_spec()->mutable_train_probes()->set_component_count(3);
  FakeJob second;
  ASSERT_TRUE(Run(second).ok());
  ASSERT_EQ(jobs_.created.size(), 5U);
  EXPECT_TRUE(jobs_.created[4].has_train_probes());
  stage(1).mutable_spec()->mutable_fine_tune()->set_data("{ }");
  FakeJob third;
  ASSERT_TRUE(Run(third).ok());
  EXPECT_EQ(jobs_.created.size(), 9U);
  EXPECT_NE(jobs_.created[5].fine_tune().output_adapter(),
            jobs_.created[0].fine_tune().output_adapter());
  jobs_.digests["models/m"] = "sha256:another";
  FakeJob fourth;
  ASSERT_TRUE(Run(fourth).ok());
  EXPECT_EQ(jobs_.created.size(), 13U);
  FakeJob fifth;
  Pipeline next(jobs_, "0.2.0");
  ASSERT_TRUE(next.Run(spec_, fifth).ok());
  EXPECT_EQ(jobs_.created.size(), 17U);
}

TEST_F(PipelineTest, AReplayComputesAllAgain) {
  FakeJob first;
  ASSERT_TRUE(Run(first).ok());
  FakeJob replay;
  replay.stored().set_replay_of(first.job().name());
  ASSERT_TRUE(Run(replay).ok());
  EXPECT_EQ(jobs_.created.size(), 8U);
  EXPECT_THAT(jobs_.replayed, ElementsAre("jobs/A0"))
      << "a training that is repeated leaves the adapter as it is";
  EXPECT_THAT(jobs_.ensured, SizeIs(1));
  EXPECT_EQ(first.outputs.at("report.html"), replay.outputs.at("report.html"));
}

TEST_F(PipelineTest, AnAbortEndsItWithTheReport) {
  jobs_.files[v1::JobSpec::kEvaluateMcq] = {
      {"comparison_report.json", Comparison(0.1, 0.15)}};
  FakeJob job;
  const absl::Status status = Run(job);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("gate behaviour of mcq: abort"));
  EXPECT_THAT(job.outputs.at("report.html"),
              HasSubstr("Ended by gate behaviour of mcq; not shown: extract, "
                        "probes"));
  EXPECT_EQ(jobs_.created.size(), 3U) << "no probes are begun";
  EXPECT_THAT(jobs_.cancelled, ElementsAre("jobs/A2"));
}

TEST_F(PipelineTest, ForceGoesOnAndIsRecorded) {
  jobs_.files[v1::JobSpec::kEvaluateMcq] = {
      {"comparison_report.json", Comparison(0.1, 0.15)}};
  spec_.mutable_pipeline()->set_force(true);
  FakeJob job;
  ASSERT_TRUE(Run(job).ok());
  EXPECT_EQ(jobs_.created.size(), 4U);
  const auto gates = nlohmann::json::parse(job.outputs.at("gates.json"));
  EXPECT_EQ(gates["gates"][0]["status"], "abort");
  EXPECT_EQ(gates["gates"][0]["forced"], true);
}

TEST_F(PipelineTest, AFailedStageIsTriedAgainByTheNextAttempt) {
  jobs_.ends = [](v1::Job& job) {
    if (!job.spec().has_evaluate_mcq()) return;
    job.set_state(v1::JOB_STATE_FAILED);
    job.set_reason("the disk is full");
  };
  FakeJob job;
  const absl::Status status = Run(job);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("stage mcq: jobs/A1 FAILED: the disk is full"));
  jobs_.ends = nullptr;
  ASSERT_TRUE(Run(job).ok());
  EXPECT_THAT(jobs_.retried, ElementsAre("jobs/A1"));
  EXPECT_EQ(jobs_.created.size(), 4U);
}

TEST_F(PipelineTest, AFailedStageLeavesWhatIsThereAndSaysWhatIsNot) {
  jobs_.ends = [](v1::Job& job) {
    if (!job.spec().has_extract_activations()) return;
    job.set_state(v1::JOB_STATE_FAILED);
    job.set_reason("INVALID_ARGUMENT: capture.blocks: there is no block 9");
  };
  FakeJob job;
  const absl::Status status = Run(job);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("mend the file and run it again: stages that succeeded "
                        "are not computed again"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("retry")));
  const auto gates = nlohmann::json::parse(job.outputs.at("gates.json"));
  EXPECT_EQ(gates["gates"][0]["status"], "pass");
  EXPECT_EQ(gates["ended_by"],
            "stage extract, which FAILED: INVALID_ARGUMENT: capture.blocks: "
            "there is no block 9");
  EXPECT_THAT(gates["not_shown"], ElementsAre("extract", "probes"));
  EXPECT_THAT(job.outputs.at("report.html"),
              HasSubstr("Ended by stage extract, which FAILED"));
  jobs_.ends = nullptr;
  ASSERT_TRUE(Run(job).ok());
  EXPECT_THAT(job.outputs.at("report.html"), Not(HasSubstr("Ended by")));
}

TEST_F(PipelineTest, AStageThatCannotBeginLeavesWhatIsThere) {
  jobs_.refuses = [](const v1::JobSpec& spec) {
    return spec.has_train_probes() ? absl::InvalidArgumentError("no groups")
                                   : absl::OkStatus();
  };
  FakeJob job;
  const absl::Status status = Run(job);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "stage probes: no groups; mend the file and run it again: stages "
            "that succeeded are not computed again");
  const auto gates = nlohmann::json::parse(job.outputs.at("gates.json"));
  EXPECT_THAT(gates["not_shown"], ElementsAre("probes"));
}

TEST_F(PipelineTest, WaitsWhereAJobCannotBeMadeYet) {
  int refusals = 3;
  jobs_.refuses = [&refusals](const v1::JobSpec&) {
    return refusals-- > 0 ? absl::UnavailableError("the worker is away")
                          : absl::OkStatus();
  };
  FakeJob job;
  ASSERT_TRUE(Run(job).ok());
  // 1, 2 and 4 s, looked at four times a second.
  EXPECT_EQ(jobs_.waits, 28);
  EXPECT_THAT(job.log, Contains(HasSubstr("waits: the worker is away")));
}

TEST_F(PipelineTest, WhoGivesItUpGivesUpItsStages) {
  jobs_.ends = [](v1::Job& job) { job.set_state(v1::JOB_STATE_RUNNING); };
  FakeJob job;
  job.when_cancelled = [this] { return jobs_.waits > 1; };
  EXPECT_EQ(Run(job).code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(jobs_.cancelled, IsEmpty()) << "it goes on later";
  job.gives_up = true;
  EXPECT_EQ(Run(job).code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(jobs_.cancelled, IsEmpty()) << "nothing was begun";
  jobs_.waits = 0;
  EXPECT_EQ(Run(job).code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(jobs_.cancelled, ElementsAre("jobs/A0"));
}

TEST_F(PipelineTest, AJobBeingCancelledIsQueuedAgainWhenItHasBeen) {
  FakeJob first;
  ASSERT_TRUE(Run(first).ok());
  jobs_.jobs.at("jobs/A1").set_state(v1::JOB_STATE_CANCELLING);
  jobs_.ends = nullptr;
  FakeJob job;
  bool has_ended = false;
  job.when_cancelled = [&] {
    v1::Job& mcq = jobs_.jobs.at("jobs/A1");
    if (mcq.state() == v1::JOB_STATE_CANCELLING && jobs_.waits > 0) {
      mcq.set_state(v1::JOB_STATE_CANCELLED);
      has_ended = true;
    }
    return false;
  };
  ASSERT_TRUE(Run(job).ok());
  EXPECT_TRUE(has_ended);
  EXPECT_THAT(jobs_.retried, ElementsAre("jobs/A1"));
}

TEST_F(PipelineTest, ADeletedSourceIsMadeAgainWithWhatReadsIt) {
  FakeJob first;
  ASSERT_TRUE(Run(first).ok());
  const std::string probes = jobs_.by_request.rbegin()->second;
  std::erase_if(jobs_.by_request,
                [](const auto& entry) { return entry.second == "jobs/A2"; });
  FakeJob second;
  ASSERT_TRUE(Run(second).ok());
  EXPECT_EQ(jobs_.created.size(), 6U);
  EXPECT_EQ(jobs_.created[5].train_probes().activations_job(), "jobs/A4");
  EXPECT_EQ(first.outputs.at("report.html"), second.outputs.at("report.html"));
}

TEST_F(PipelineTest, ANetworkReplacedUnderItEndsIt) {
  jobs_.ends = [this](v1::Job& job) {
    job.add_provenance()->set_model_digest("sha256:models/m");
    if (job.spec().has_fine_tune()) jobs_.digests["models/m"] = "sha256:other";
  };
  FakeJob job;
  const absl::Status status = Run(job);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("models/m was replaced while the pipeline ran"));
  jobs_.digests.clear();
  jobs_.ends = [](v1::Job& ended) {
    ended.add_provenance()->set_model_digest("sha256:meanwhile");
  };
  stage(1).mutable_spec()->mutable_fine_tune()->set_data("{ }");
  FakeJob late;
  EXPECT_THAT(std::string(Run(late).message()),
              HasSubstr("a network of jobs/A1 was replaced"));
}

TEST_F(PipelineTest, ItsProgressSaysHowFarTheStageUnderWayIs) {
  jobs_.ends = [](v1::Job& job) {
    job.set_state(v1::JOB_STATE_RUNNING);
    job.mutable_progress()->set_done_count(378);
    job.mutable_progress()->set_total_count(700);
    job.mutable_progress()->set_unit("steps");
  };
  FakeJob job;
  job.when_cancelled = [this] { return jobs_.waits > 1; };
  EXPECT_EQ(Run(job).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(job.job().progress().unit(), "stages (train 378/700 steps)");
  EXPECT_EQ(job.total_counts.back(), 4);
  EXPECT_THAT(job.items, IsEmpty());
}

TEST_F(PipelineTest, StagesGoBeforeNobody) {
  FakeJob job;
  job.stored().set_priority(v1::JOB_PRIORITY_INTERACTIVE);
  ASSERT_TRUE(Run(job).ok());
  EXPECT_EQ(jobs_.jobs.at("jobs/A0").priority(), v1::JOB_PRIORITY_NORMAL);
  FakeJob background;
  background.stored().set_priority(v1::JOB_PRIORITY_BACKGROUND);
  stage(1).mutable_spec()->mutable_fine_tune()->set_data("{ }");
  ASSERT_TRUE(Run(background).ok());
  EXPECT_EQ(jobs_.jobs.at("jobs/A4").priority(), v1::JOB_PRIORITY_BACKGROUND);
}

TEST_F(PipelineTest, AnAbortTellsOnlyOfWhatItRestsOn) {
  jobs_.files[v1::JobSpec::kEvaluateMcq] = {
      {"comparison_report.json", Comparison(0.1, 0.15)}};
  FakeJob job;
  EXPECT_FALSE(Run(job).ok());
  const std::string report = job.outputs.at("report.html");
  FakeJob again;
  EXPECT_FALSE(Run(again).ok());
  EXPECT_EQ(again.outputs.at("report.html"), report);
  const auto manifest = nlohmann::json::parse(job.outputs.at("manifest.json"));
  EXPECT_EQ(manifest["stages"].size(), 2U) << manifest;
}

TEST_F(PipelineTest, AnAbortBehindManyPathsIsToldAtOnce) {
  jobs_.files[v1::JobSpec::kEvaluateMcq] = {
      {"comparison_report.json", Comparison(0.1, 0.15)}, {"rows.jsonl", "{}"}};
  v1::JobSpec ladder;
  for (int i = 0; i < 60; ++i) {
    v1::PipelineStage& rung = *ladder.mutable_pipeline()->add_stages();
    rung.set_name(absl::StrCat("s", i));
    auto& mcq = *rung.mutable_spec()->mutable_evaluate_mcq();
    mcq.set_seed(static_cast<uint64_t>(i));
    for (int v = 0; v < 2; ++v) mcq.add_variants()->set_model("models/m");
    for (int source = 0; source < i; ++source) {
      v1::StageInput& input = *rung.add_inputs();
      input.set_field("evaluate_mcq.data_artifact");
      input.set_stage(absl::StrCat("s", source));
      input.set_file("rows.jsonl");
    }
  }
  ladder.mutable_pipeline()->mutable_stages(59)->add_gates(v1::GATE_BEHAVIOUR);
  spec_ = ladder;
  FakeJob job;
  EXPECT_EQ(Run(job).code(), absl::StatusCode::kFailedPrecondition);
  const auto manifest = nlohmann::json::parse(job.outputs.at("manifest.json"));
  EXPECT_EQ(manifest["stages"].size(), 60U);
}

TEST_F(PipelineTest, MixesNoNetworksInOneRun) {
  jobs_.ends = [](v1::Job& job) {
    if (job.spec().has_train_probes()) job.set_state(v1::JOB_STATE_FAILED);
  };
  FakeJob job;
  ASSERT_FALSE(Run(job).ok());
  jobs_.digests["models/m"] = "sha256:another";
  const absl::Status status = Run(job);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("has changed"));
}

}  // namespace
}  // namespace dissonance
