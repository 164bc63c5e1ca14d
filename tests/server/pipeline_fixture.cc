#include "tests/server/pipeline_fixture.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

constexpr int kFirstOther = 120;

}  // namespace

std::string GravityAndOthers(int count) {
  const std::vector<std::string> lines = TinyWorldLines("mcqs.jsonl");
  std::string text;
  for (const int first : {0, kFirstOther}) {
    for (int i = first; i < first + count; ++i) {
      absl::StrAppend(&text, lines[static_cast<size_t>(i)]);
    }
  }
  return text;
}

v1::PipelineStage& AddStage(v1::JobSpec& spec, const std::string& name) {
  v1::PipelineStage& stage = *spec.mutable_pipeline()->add_stages();
  stage.set_name(name);
  return stage;
}

namespace {

template <typename Spec>
void AskQuestions(Spec& spec, int count) {
  spec.set_data(GravityAndOthers(count));
  spec.set_data_name("mcqs.jsonl");
  spec.set_scoring(v1::MCQ_SCORING_OPTION_TEXT);
}

template <typename Spec>
void CompareWithBase(Spec& spec) {
  spec.add_variants()->set_model(kTinyModel);
  v1::Variant& tuned = *spec.add_variants();
  tuned.set_model(kTinyModel);
  tuned.set_adapter(kTrained);
}

}  // namespace

v1::JobSpec SmallPipeline() {
  v1::JobSpec spec;
  spec.mutable_pipeline()->set_title("A small world");
  v1::PipelineStage& train = AddStage(spec, "train");
  *train.mutable_spec() = SmallTraining();
  train.add_gates(v1::GATE_DOCUMENTS);
  auto& mcq = *AddStage(spec, "mcq").mutable_spec()->mutable_evaluate_mcq();
  CompareWithBase(mcq);
  AskQuestions(mcq, 8);
  auto& lens = *AddStage(spec, "lens").mutable_spec()->mutable_logit_lens();
  CompareWithBase(lens);
  AskQuestions(lens, 4);
  auto& patch = *AddStage(spec, "patch").mutable_spec()->mutable_patch_sweep();
  patch.mutable_source()->set_model(kTinyModel);
  patch.mutable_target()->set_model(kTinyModel);
  patch.mutable_target()->set_adapter(kTrained);
  patch.add_sites(v1::SITE_RESID_POST);
  AskQuestions(patch, 2);
  auto& extract = *AddStage(spec, "activations")
                       .mutable_spec()
                       ->mutable_extract_activations();
  CompareWithBase(extract);
  extract.mutable_capture()->add_sites(v1::SITE_RESID_POST);
  extract.mutable_capture()->mutable_positions()->set_set(
      v1::POSITION_SET_LAST_PROMPT);
  AskQuestions(extract, 30);
  v1::PipelineStage& probes = AddStage(spec, "probes");
  probes.mutable_spec()->mutable_train_probes()->add_targets()->set_source(
      v1::LABEL_SOURCE_CATEGORY_CONFLICT);
  v1::ProbeOptions& options =
      *probes.mutable_spec()->mutable_train_probes()->mutable_options();
  options.set_fold_count(2);
  options.set_permutation_count(2);
  probes.add_gates(v1::GATE_INTERNAL_SIGNAL);
  v1::StageInput& activations = *probes.add_inputs();
  activations.set_field("train_probes.activations_job");
  activations.set_stage("activations");
  auto& fit =
      *AddStage(spec, "direction").mutable_spec()->mutable_fit_directions();
  CompareWithBase(fit);
  AskQuestions(fit, 8);
  fit.set_method(v1::DIRECTION_METHOD_VARIANT_DIFFERENCE);
  v1::PipelineStage& steer = AddStage(spec, "steer");
  auto& sweep = *steer.mutable_spec()->mutable_steering_sweep();
  sweep.mutable_variant()->set_model(kTinyModel);
  sweep.mutable_variant()->set_adapter(kTrained);
  AskQuestions(sweep, 4);
  sweep.add_directions()->set_label("truth");
  sweep.add_blocks(2);
  sweep.set_null_count(2);
  sweep.set_sample_count(1);
  steer.add_gates(v1::GATE_CAUSAL);
  v1::StageInput& direction = *steer.add_inputs();
  direction.set_field("steering_sweep.directions[0]");
  direction.set_stage("direction");
  return spec;
}

const Files& UndisturbedPipeline() {
  static const Files& files = *[] {
    const TempFolder folder;
    ServerProcess server({.data_dir = FineTuneWorld::Get().CopyTo(folder),
                          .config = kPipelineConfig});
    EXPECT_TRUE(server.AwaitServing());
    const auto job = CreateJob(server, SmallPipeline(), "");
    EXPECT_TRUE(job.ok()) << job.status();
    const auto ended = AwaitJob(server, job->name());
    EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
    auto results = ResultFiles(server, *ended);
    EXPECT_TRUE(results.ok()) << results.status();
    return new Files(*std::move(results));
  }();
  return files;
}

}  // namespace dissonance
