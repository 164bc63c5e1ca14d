#include "src/lab/pipeline/pipeline_plan.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::PipelineStage& AddStage(v1::PipelineSpec& spec, const std::string& name) {
  v1::PipelineStage& stage = *spec.add_stages();
  stage.set_name(name);
  stage.mutable_spec()->mutable_evaluate_mcq();
  return stage;
}

void Take(v1::PipelineStage& stage, const std::string& field,
          const std::string& source, const std::string& file = "") {
  v1::StageInput& input = *stage.add_inputs();
  input.set_field(field);
  input.set_stage(source);
  input.set_file(file);
}

std::string Refusal(const v1::PipelineSpec& spec) {
  const absl::Status status = PlanPipeline(spec).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(PipelinePlanTest, AStageNeedsWhatItTakesAndTheAdaptersThatItNames) {
  v1::PipelineSpec spec;
  AddStage(spec, "mcq")
      .mutable_spec()
      ->mutable_evaluate_mcq()
      ->add_variants()
      ->set_adapter("models/m/adapters/a");
  v1::PipelineStage& train = AddStage(spec, "train");
  train.mutable_spec()->mutable_fine_tune()->set_output_adapter(
      "models/m/adapters/a");
  Take(train, "fine_tune.data_artifact", "docs", "docs.jsonl");
  AddStage(spec, "docs").mutable_spec()->mutable_generate_documents();
  const auto stages = PlanPipeline(spec);
  ASSERT_TRUE(stages.ok()) << stages.status();
  EXPECT_THAT((*stages)[0].needs, ElementsAre(1));
  EXPECT_THAT((*stages)[1].needs, ElementsAre(2));
  EXPECT_EQ((*stages)[1].output_adapter, "models/m/adapters/a");
}

TEST(PipelinePlanTest, SaysWhatIsWrongAndWhere) {
  v1::PipelineSpec spec;
  EXPECT_THAT(Refusal(spec), HasSubstr("pipeline.stages: expected 1 to 64"));
  AddStage(spec, "Mcq");
  EXPECT_THAT(Refusal(spec), HasSubstr("stages[0].name: \"Mcq\""));
  spec.mutable_stages(0)->set_name("mcq");
  AddStage(spec, "mcq");
  EXPECT_THAT(Refusal(spec), HasSubstr("given twice, first to stages[0]"));
  spec.mutable_stages(1)->set_name("other");
  spec.mutable_stages(1)->mutable_spec()->mutable_pipeline();
  EXPECT_THAT(Refusal(spec), HasSubstr("that is no pipeline"));
  spec.mutable_stages(1)->mutable_spec()->mutable_evaluate_mcq();
  spec.mutable_stages(1)->add_gates(v1::GATE_CAUSAL);
  EXPECT_THAT(Refusal(spec),
              HasSubstr("stages[1] (other).gates[0]: causal judges "
                        "steering_sweep, not evaluate_mcq, "
                        "which has the gates behaviour"));
  spec.mutable_stages(1)->set_gates(0, v1::GATE_BEHAVIOUR);
  EXPECT_THAT(Refusal(spec), HasSubstr("behaviour compares two variants"));
  spec.mutable_stages(1)->clear_gates();
  Take(*spec.mutable_stages(1), "evaluate_mcq.data_artifact", "docs", "x");
  EXPECT_THAT(Refusal(spec),
              HasSubstr("there is no stage \"docs\"; there are mcq, "
                        "other"));
  spec.mutable_stages(1)->mutable_inputs(0)->set_stage("mcq");
  spec.mutable_stages(1)->mutable_inputs(0)->clear_file();
  EXPECT_THAT(Refusal(spec), HasSubstr("name the file"));
  spec.mutable_stages(1)->mutable_inputs(0)->set_field("evaluate_mcq.seed");
  EXPECT_THAT(Refusal(spec), HasSubstr("takes nothing of another stage"));
}

TEST(PipelinePlanTest, StagesThatWaitForOneAnotherAreRefused) {
  v1::PipelineSpec spec;
  Take(AddStage(spec, "a"), "evaluate_mcq.data_artifact", "b", "x");
  Take(AddStage(spec, "b"), "evaluate_mcq.data_artifact", "a", "x");
  Take(AddStage(spec, "c"), "evaluate_mcq.data_artifact", "b", "x");
  spec.mutable_stages()->SwapElements(0, 2);
  EXPECT_THAT(Refusal(spec),
              HasSubstr("stages wait for one another: b waits for a waits for "
                        "b"));
}

TEST(PipelinePlanTest, AStageOfAnotherKindThanAFieldTakesIsRefused) {
  v1::PipelineSpec spec;
  AddStage(spec, "mcq");
  v1::PipelineStage& probes = AddStage(spec, "probes");
  probes.mutable_spec()->mutable_train_probes();
  Take(probes, "train_probes.activations_job", "mcq");
  EXPECT_THAT(Refusal(spec),
              HasSubstr("stages[1] (probes).inputs[0].stage: takes a stage of "
                        "kind extract_activations, and mcq is of kind "
                        "evaluate_mcq; of that kind there are: none"));
  AddStage(spec, "acts").mutable_spec()->mutable_extract_activations();
  EXPECT_THAT(Refusal(spec), HasSubstr("of that kind there are: acts"));
  spec.mutable_stages(1)->mutable_inputs(0)->set_stage("acts");
  EXPECT_TRUE(PlanPipeline(spec).ok());
  v1::PipelineStage& judge = AddStage(spec, "judge");
  judge.mutable_spec()->mutable_judge();
  Take(judge, "judge.job", "mcq");
  EXPECT_THAT(Refusal(spec), HasSubstr("takes a stage of kind evaluate_open"));
}

TEST(PipelinePlanTest, AnAdapterIsMadeOnce) {
  v1::PipelineSpec spec;
  for (const char* name : {"a", "b"}) {
    AddStage(spec, name)
        .mutable_spec()
        ->mutable_fine_tune()
        ->set_output_adapter("models/m/adapters/x");
  }
  EXPECT_THAT(Refusal(spec), HasSubstr("stage a makes it too"));
}

}  // namespace
}  // namespace dissonance
