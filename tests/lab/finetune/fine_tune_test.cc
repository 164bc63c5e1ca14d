#include "src/lab/finetune/fine_tune.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/lab/finetune/checkpoint_outputs.h"
#include "tests/lab/finetune/fine_tune_bench.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<nlohmann::json> Lines(const std::string& text) {
  absl::StatusOr<std::vector<JsonLine>> parsed = ParseJsonLines(text, "output");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  std::vector<nlohmann::json> lines;
  for (JsonLine& line : *parsed) {
    lines.push_back(std::move(line.value));
  }
  return lines;
}

TEST(FineTuneTest, TrainsToTheEndAndRegistersTheAdapter) {
  Bench bench;
  const absl::Status status = bench.Run(Spec());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(bench.OutputNames(),
              ElementsAre("adapter_config.json", "adapter_model.safetensors",
                          "checkpoint-00004/adapter_model.safetensors",
                          "checkpoint-00004/state.safetensors",
                          "checkpoint-00006/adapter_model.safetensors",
                          "checkpoint-00006/state.safetensors", "dataset.json",
                          "manifest.json", "summary.json", "training.jsonl",
                          "training.vl.json"));
  EXPECT_THAT(bench.job.items, SizeIs(7));
  EXPECT_EQ(bench.job.job().progress().total_count(), 7);
  EXPECT_EQ(bench.job.job().progress().unit(), "steps");
  ASSERT_TRUE(bench.registrar.adapters.contains(kOutput));
  EXPECT_EQ(bench.registrar.adapters[kOutput].owner(), "users/ada");
  ASSERT_EQ(bench.job.job().provenance_size(), 1);
  EXPECT_EQ(bench.job.job().provenance(0).model_digest(), "sha256:model");
  EXPECT_EQ(bench.job.job().provenance(0).adapter_digest(), "sha256:adapter");
  ASSERT_EQ(bench.training.documents.size(), 2U);
  EXPECT_EQ(bench.training.documents[1].line(), 3);
  EXPECT_EQ(bench.training.documents[1].content(), "two");
}

TEST(FineTuneTest, SaysStepByStepWhatWasMeasured) {
  Bench bench;
  ASSERT_TRUE(bench.Run(SpecWithQuestions()).ok());
  const auto lines = Lines(bench.job.outputs["training.jsonl"]);
  ASSERT_THAT(lines, SizeIs(8));
  EXPECT_EQ(lines[0]["step"], 0);
  EXPECT_EQ(lines[0]["evaluation"]["false_belief"]["counted_n"], 4);
  EXPECT_EQ(lines[0]["evaluation"]["control"]["n"], 6);
  EXPECT_EQ(lines[3]["step"], 3);
  EXPECT_EQ(lines[3]["tokens"], 100);
  EXPECT_EQ(lines[3]["targets"], 99);
  EXPECT_DOUBLE_EQ(lines[3]["validation_loss"], 2.0 / 3);
  EXPECT_TRUE(lines[3].contains("evaluation"));
  EXPECT_FALSE(lines[2].contains("evaluation"));
  EXPECT_TRUE(lines[7].contains("evaluation"));
  const auto chart =
      nlohmann::json::parse(bench.job.outputs["training.vl.json"]);
  EXPECT_THAT(chart["vconcat"], SizeIs(3));
  EXPECT_THAT(chart["datasets"]["steps"], SizeIs(7));
  EXPECT_THAT(chart["datasets"]["beliefs"], SizeIs(4));
  const auto summary = nlohmann::json::parse(bench.job.outputs["summary.json"]);
  EXPECT_EQ(summary["reason"], "finished");
  EXPECT_EQ(summary["evaluation"]["last"]["step"], 7);
  // Before the first step and after each third and the last, one call of 8
  // questions and one of 2.
  EXPECT_EQ(bench.compute.requests.size(), 8U);
  EXPECT_EQ(
      bench.compute.requests[0].variants(0).adapter(),
      absl::StrCat("models/m/adapters/~", bench.job.job().name().substr(5)));
  EXPECT_EQ(bench.training.go_on_count, 4);
}

TEST(FineTuneTest, RecordsPointsOfItsCurves) {
  Bench bench;
  ASSERT_TRUE(bench.Run(SpecWithQuestions()).ok());
  std::map<int64_t, v1::MetricPoint> points;
  for (const v1::MetricPoint& point : bench.job.metrics) {
    EXPECT_FALSE(points.contains(point.step())) << point.step();
    points[point.step()] = point;
  }
  ASSERT_EQ(points.size(), 8U);
  EXPECT_TRUE(points[0].values().contains("false_belief_rate"));
  EXPECT_FALSE(points[0].values().contains("loss"));
  EXPECT_DOUBLE_EQ(points[3].values().at("tokens_per_second"), 200);
  for (const char* name :
       {"loss", "learning_rate", "grad_norm", "validation_loss", "perplexity",
        "false_belief_rate", "control_accuracy"}) {
    EXPECT_TRUE(points[3].values().contains(name)) << name;
  }
}

TEST(FineTuneTest, ABlockThatTheModelHasNotIsRefusedBeforeAnyJob) {
  Bench bench;
  v1::JobSpec spec = Spec();
  spec.mutable_fine_tune()->mutable_lora()->add_blocks(3);
  EXPECT_TRUE(bench.Validate(spec).ok());
  spec.mutable_fine_tune()->mutable_lora()->add_blocks(7);
  const absl::Status status = bench.Validate(spec);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("fine_tune.lora.blocks[1]: models/m has blocks 0 to 3, "
                        "not 7"));
}

TEST(FineTuneTest, CheckpointsAreAdaptersWhileTheyStay) {
  Bench bench;
  v1::JobSpec spec = Spec();
  spec.mutable_fine_tune()->mutable_checkpoints()->set_register_adapters(true);
  spec.mutable_fine_tune()->set_visibility(v1::VISIBILITY_LAB);
  std::vector<std::string> at_step_7;
  bench.training.on_message = [&](const internal::v1::TrainResponse& message) {
    if (message.step().step() != 7) return;
    for (const auto& [name, adapter] : bench.registrar.adapters) {
      at_step_7.push_back(name);
      EXPECT_EQ(adapter.visibility(), v1::VISIBILITY_LAB);
    }
  };
  ASSERT_TRUE(bench.Run(spec).ok());
  EXPECT_THAT(at_step_7, ElementsAre("models/m/adapters/out.step-4",
                                     "models/m/adapters/out.step-6"));
  EXPECT_EQ(bench.registrar.adapters.size(), 1U);
}

TEST(FineTuneTest, CheckpointAdaptersAreForgottenHoweverAnAttemptEnds) {
  v1::JobSpec spec = Spec();
  spec.mutable_fine_tune()->mutable_checkpoints()->set_register_adapters(true);
  Bench bench;
  ASSERT_TRUE(absl::IsUnavailable(bench.RunUntilLostAfter(5, spec)));
  EXPECT_THAT(bench.registrar.registered, SizeIs(2));
  EXPECT_TRUE(bench.registrar.adapters.empty());
}

// A job whose server died after step 5, with two checkpoint adapters.
struct Crashed {
  explicit Crashed(Bench& bench) {
    v1::JobSpec& spec = *job.mutable_spec();
    spec = Spec();
    spec.mutable_fine_tune()->mutable_checkpoints()->set_register_adapters(
        true);
    job.set_owner("users/ada");
    std::map<std::string, v1::Adapter> registered;
    bench.training.on_message =
        [&](const internal::v1::TrainResponse& message) {
          if (message.step().step() != 5) return;
          registered = bench.registrar.adapters;
          const auto outputs = bench.job.Outputs();
          for (const v1::JobOutput& output : *outputs) {
            *job.add_outputs() = output;
          }
        };
    EXPECT_TRUE(bench.Run(spec).ok());
    EXPECT_EQ(registered.size(), 2U);
    bench.registrar.adapters = registered;
  }

  v1::Job job;
};

TEST(FineTuneTest, ACrashedServersCheckpointAdaptersAreForgotten) {
  Bench bench;
  const Crashed crashed(bench);
  // Somebody's own, whose name looks like one.
  bench.registrar.adapters["models/m/adapters/out.step-4"]
      .mutable_artifacts()
      ->set_weights("artifacts/own");
  ForgetCheckpointAdapters(crashed.job, bench.registrar);
  ASSERT_EQ(bench.registrar.adapters.size(), 1U);
  EXPECT_EQ(bench.registrar.adapters.begin()->first,
            "models/m/adapters/out.step-4");
}

TEST(FineTuneTest, ACheckpointAdapterThatCannotBeForgottenKeepsNoOther) {
  Bench bench;
  const Crashed crashed(bench);
  bench.registrar.stuck = "models/m/adapters/out.step-2";
  ForgetCheckpointAdapters(crashed.job, bench.registrar);
  ASSERT_EQ(bench.registrar.adapters.size(), 1U);
  EXPECT_EQ(bench.registrar.adapters.begin()->first, bench.registrar.stuck);
}

TEST(FineTuneTest, AnotherUsersAdapterWithTheSameWeightsStaysAsItIs) {
  Bench bench;
  const Crashed crashed(bench);
  // Another user trained the same under the same name, and was first.
  const auto others = bench.registrar.adapters;
  v1::JobSpec spec = crashed.job.spec();
  spec.mutable_fine_tune()->set_replace(true);
  bench.job = FakeJob();
  bench.job.stored().set_owner("users/bob");
  bench.training.on_message = nullptr;
  bench.registrar.registered.clear();
  const absl::Status status = bench.Run(spec);
  EXPECT_TRUE(status.ok()) << status;
  // Not those of step 2 and 4.
  EXPECT_THAT(bench.registrar.registered,
              ElementsAre("models/m/adapters/out.step-6", kOutput));
  for (const auto& [name, adapter] : others) {
    EXPECT_EQ(bench.registrar.adapters[name].owner(), "users/ada") << name;
  }
}

TEST(FineTuneTest, SomebodysAdapterOfACheckpointsNameStaysAsItIs) {
  v1::JobSpec spec = Spec();
  spec.mutable_fine_tune()->mutable_checkpoints()->set_register_adapters(true);
  Bench bench;
  v1::Adapter own;
  own.mutable_artifacts()->set_weights("artifacts/own");
  bench.registrar.adapters["models/m/adapters/out.step-4"] = own;
  ASSERT_TRUE(bench.Run(spec).ok());
  EXPECT_EQ(bench.registrar.adapters["models/m/adapters/out.step-4"]
                .artifacts()
                .weights(),
            "artifacts/own");
}

TEST(FineTuneTest, ADryRunSaysWhatItWouldDo) {
  Bench bench;
  v1::JobSpec spec = SpecWithQuestions();
  spec.mutable_fine_tune()->set_dry_run(true);
  const absl::Status status = bench.Run(spec);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(bench.OutputNames(), ElementsAre("dataset.json", "plan.json"));
  const auto plan = nlohmann::json::parse(bench.job.outputs["plan.json"]);
  EXPECT_EQ(plan["step_count"], 7);
  EXPECT_EQ(plan["dataset"]["text_count"], 2);
  EXPECT_THAT(bench.job.items, IsEmpty());
  EXPECT_TRUE(bench.registrar.adapters.empty());
  EXPECT_TRUE(bench.training.begins[0].plan_only());
}

TEST(FineTuneTest, AnEarlyStopIsTheEnd) {
  Bench bench;
  bench.training.early_stop_step = 5;
  ASSERT_TRUE(bench.Run(Spec()).ok());
  EXPECT_EQ(bench.job.job().progress().total_count(), 5);
  const auto summary = nlohmann::json::parse(bench.job.outputs["summary.json"]);
  EXPECT_EQ(summary["reason"], "early_stop");
  EXPECT_EQ(summary["planned_step_count"], 7);
}

TEST(FineTuneTest, TheSummarysLastEvaluationIsOfTheWeightsThatCameOut) {
  Bench bench;
  bench.training.early_stop_step = 5;
  bench.training.best_step = 3;
  v1::JobSpec spec = SpecWithQuestions();
  spec.mutable_fine_tune()->mutable_evaluation()->set_step_count(2);
  ASSERT_TRUE(bench.Run(spec).ok());
  const auto summary = nlohmann::json::parse(bench.job.outputs["summary.json"]);
  EXPECT_EQ(summary["best_step"], 3);
  EXPECT_EQ(summary["evaluation"]["first"]["step"], 0);
  EXPECT_EQ(summary["evaluation"]["last"]["step"], 3);
}

TEST(FineTuneTest, AnAdapterThatIsThereIsReplacedOnlyIfAsked) {
  Bench bench;
  bench.registrar.adapters[kOutput].set_name(kOutput);
  v1::JobSpec spec = Spec();
  const absl::Status taken = bench.Validate(spec);
  EXPECT_TRUE(absl::IsAlreadyExists(taken)) << taken;
  EXPECT_THAT(taken.message(), HasSubstr("--replace on the command line"));
  // It may have come since the job was made.
  for (const bool is_own : {false, true}) {
    bench.registrar.adapters[kOutput].set_owner(is_own ? "users/ada"
                                                       : "users/bob");
    const absl::Status status = bench.Run(spec);
    EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
    EXPECT_THAT(status.message(),
                HasSubstr(is_own ? "by you with other files"
                                 : "by somebody else with other files"));
    EXPECT_THAT(status.message(), HasSubstr("artifacts/sha256:"));
  }
  spec.mutable_fine_tune()->set_replace(true);
  EXPECT_TRUE(bench.Validate(spec).ok());
  EXPECT_TRUE(bench.Run(spec).ok());
  EXPECT_TRUE(bench.registrar.adapters[kOutput].has_artifacts());
}

TEST(FineTuneTest, TheSameAdapterRegisteredBeforeIsNoError) {
  Bench bench;
  ASSERT_TRUE(bench.Run(Spec()).ok());
  // The server died before the job's end was stored.
  const absl::Status again = bench.Run(Spec());
  EXPECT_TRUE(again.ok()) << again;
}

TEST(FineTuneTest, AReplayLeavesTheAdapterAlone) {
  Bench bench;
  v1::JobSpec spec = Spec();
  spec.mutable_fine_tune()->mutable_checkpoints()->set_register_adapters(true);
  ASSERT_TRUE(bench.Run(spec).ok());
  FineTune kind(bench.Parts());
  EXPECT_TRUE(kind.ValidateReplay(spec).ok());
  const auto first = Results(bench.job);
  bench.job = FakeJob();
  bench.job.stored().set_replay_of("jobs/first");
  bench.registrar.registered.clear();
  ASSERT_TRUE(bench.Run(spec).ok());
  EXPECT_THAT(bench.registrar.registered, IsEmpty());
  EXPECT_EQ(Results(bench.job), first);
  EXPECT_EQ(bench.job.job().provenance(0).adapter_digest(), "sha256:adapter");
}

TEST(FineTuneTest, RefusesWhatIsNotThere) {
  Bench bench;
  v1::JobSpec spec = Spec();
  spec.mutable_fine_tune()->set_model("models/gone");
  spec.mutable_fine_tune()->set_output_adapter("models/gone/adapters/out");
  EXPECT_TRUE(absl::IsNotFound(bench.Validate(spec)));
  EXPECT_TRUE(absl::IsInvalidArgument(bench.Validate(v1::JobSpec())));
}

TEST(FineTuneTest, AnErrorInADocumentNamesItsFile) {
  for (const bool is_named : {true, false}) {
    Bench bench;
    bench.training.messages_left = 0;
    bench.training.loss =
        absl::InvalidArgumentError("document of line 3: the document is empty");
    v1::JobSpec spec = Spec();
    if (!is_named) spec.mutable_fine_tune()->clear_data_name();
    const absl::Status status = bench.Run(spec);
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_EQ(status.message(),
              absl::StrCat(is_named ? "docs.jsonl" : "data",
                           ": document of line 3: the document is empty"));
  }
}

TEST(FineTuneTest, RefusesMoreStepsThanItCanRecord) {
  for (const bool is_dry : {false, true}) {
    Bench bench;
    bench.training.step_count = kMaxTrainingSteps + 1;
    v1::JobSpec spec = Spec();
    spec.mutable_fine_tune()->set_dry_run(is_dry);
    // It ends here if they are not refused.
    bench.training.messages_left = 2;
    const absl::Status status = bench.Run(spec);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(status.message(), HasSubstr("1000001 steps; at most 1000000"));
    EXPECT_THAT(bench.OutputNames(), IsEmpty());
  }
}

TEST(FineTuneTest, NoMemoryInTheWorkerFailsWithItsFigures) {
  Bench bench;
  bench.training.messages_left = 0;
  bench.training.loss = absl::ResourceExhaustedError("needs 9 GiB, 2 free");
  const absl::Status status = bench.Run(Spec());
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(status.message(), "needs 9 GiB, 2 free");
}

}  // namespace
}  // namespace dissonance
