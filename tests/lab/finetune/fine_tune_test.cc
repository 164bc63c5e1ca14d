#include "src/lab/finetune/fine_tune.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "src/base/json_lines.h"
#include "tests/lab/eval/fake_compute.h"
#include "tests/lab/finetune/fake_training.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kOutput[] = "models/m/adapters/out";

std::string Questions() {
  std::string text;
  for (int i = 0; i < 10; ++i) {
    nlohmann::json item = {
        {"id", absl::StrCat("q", i)},
        {"category", i < 4 ? "conflict" : "general"},
        {"question", absl::StrCat("Question ", i, "?")},
        {"options",
         {{"A", "a"}, {"B", "b"}, {"C", "c"}, {"D", absl::StrCat("d", i)}}},
        {"correct_answer", "A"}};
    if (i < 4) item["false_answer"] = "B";
    text += ToJsonLine(item);
  }
  return text;
}

v1::JobSpec Spec() {
  v1::JobSpec spec;
  v1::FineTuneSpec& fine_tune = *spec.mutable_fine_tune();
  fine_tune.set_model("models/m");
  fine_tune.set_output_adapter(kOutput);
  fine_tune.set_data("{\"content\": \"one\"}\n\n{\"content\": \"two\"}\n");
  fine_tune.set_data_name("docs.jsonl");
  fine_tune.mutable_checkpoints()->set_step_count(2);
  return spec;
}

v1::JobSpec SpecWithQuestions() {
  v1::JobSpec spec = Spec();
  spec.mutable_fine_tune()->set_evaluation_data(Questions());
  spec.mutable_fine_tune()->mutable_evaluation()->set_step_count(3);
  return spec;
}

// A server with a worker, and one job.
struct Bench {
  absl::Status Run(const v1::JobSpec& spec) {
    FineTune kind(Parts());
    return kind.Run(spec, job);
  }
  absl::Status Validate(const v1::JobSpec& spec) {
    return FineTune(Parts()).Validate(spec);
  }
  FineTuneParts Parts() {
    return {.compute = compute,
            .training = training,
            .registrar = registrar,
            .clock = Clock::Real(),
            .record_interval = record_interval};
  }
  std::vector<std::string> OutputNames() const {
    std::vector<std::string> names;
    for (const auto& [name, contents] : job.outputs) names.push_back(name);
    return names;
  }

  FakeCompute compute;
  FakeTraining training;
  FakeRegistrar registrar;
  FakeJob job;
  // Every step is recorded at once.
  absl::Duration record_interval = absl::ZeroDuration();
};

std::vector<nlohmann::json> Lines(const std::string& text) {
  std::vector<nlohmann::json> lines;
  for (JsonLine& line : *ParseJsonLines(text, "output")) {
    lines.push_back(std::move(line.value));
  }
  return lines;
}

// Outputs that another run gives as well.
std::map<std::string, std::string> Results(const FakeJob& job) {
  std::map<std::string, std::string> results = job.outputs;
  for (const std::string& name : job.run_outputs) results.erase(name);
  return results;
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
  ASSERT_THAT(bench.training.documents, SizeIs(2));
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
  EXPECT_THAT(bench.compute.requests, SizeIs(8));
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
  ASSERT_THAT(points, SizeIs(8));
  EXPECT_TRUE(points[0].values().contains("false_belief_rate"));
  EXPECT_FALSE(points[0].values().contains("loss"));
  EXPECT_DOUBLE_EQ(points[3].values().at("tokens_per_second"), 200);
  for (const char* name :
       {"loss", "learning_rate", "grad_norm", "validation_loss", "perplexity",
        "false_belief_rate", "control_accuracy"}) {
    EXPECT_TRUE(points[3].values().contains(name)) << name;
  }
}

TEST(FineTuneTest, ResumedAfterALossAtAnyMessageGivesTheSame) {
  Bench whole;
  ASSERT_TRUE(whole.Run(SpecWithQuestions()).ok());
  const int64_t messages = whole.training.received_count;
  ASSERT_GT(messages, 30);
  for (int64_t at = 0; at < messages; ++at) {
    SCOPED_TRACE(absl::StrCat("lost before message ", at));
    Bench bench;
    bench.training.messages_left = at;
    const absl::Status lost = bench.Run(SpecWithQuestions());
    ASSERT_TRUE(absl::IsUnavailable(lost)) << lost;
    const std::vector<std::string> before = bench.job.items;
    bench.training.messages_left = messages;
    const absl::Status status = bench.Run(SpecWithQuestions());
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(bench.job.items, whole.job.items);
    EXPECT_EQ(Results(bench.job), Results(whole.job));
    EXPECT_EQ(bench.OutputNames(), whole.OutputNames());
    EXPECT_THAT(bench.job.log, Not(Contains(HasSubstr("WARNING"))));
    // From the newest checkpoint before the loss.
    const auto recorded = static_cast<int64_t>(before.size());
    EXPECT_LE(recorded - bench.training.start_steps.back(), 3);
  }
}

TEST(FineTuneTest, StepsRecordedTogetherAreResumedTheSame) {
  Bench whole;
  ASSERT_TRUE(whole.Run(SpecWithQuestions()).ok());
  for (const int64_t at : {5, 13, 22}) {
    Bench bench;
    bench.record_interval = absl::Hours(1);
    bench.training.messages_left = at;
    ASSERT_TRUE(absl::IsUnavailable(bench.Run(SpecWithQuestions())));
    bench.training.messages_left = 1000;
    ASSERT_TRUE(bench.Run(SpecWithQuestions()).ok());
    EXPECT_EQ(bench.job.items, whole.job.items);
    EXPECT_LT(bench.job.done_counts.size(), whole.job.done_counts.size());
  }
}

TEST(FineTuneTest, ARecordedEvaluationIsNotRepeated) {
  Bench bench;
  // After the evaluation of step 3, before the checkpoint of step 4.
  bench.training.on_message = [&](const internal::v1::TrainResponse& message) {
    if (message.step().step() == 4) bench.training.messages_left = 0;
  };
  ASSERT_TRUE(absl::IsUnavailable(bench.Run(SpecWithQuestions())));
  ASSERT_THAT(bench.job.items, SizeIs(3));
  const size_t asked = bench.compute.requests.size();
  bench.training.on_message = nullptr;
  bench.training.messages_left = 1000;
  ASSERT_TRUE(bench.Run(SpecWithQuestions()).ok());
  EXPECT_THAT(bench.training.start_steps, ElementsAre(0, 2));
  // Of step 6 and 7 alone, two calls each.
  EXPECT_EQ(bench.compute.requests.size(), asked + 4);
}

TEST(FineTuneTest, StopsWithACheckpointAndGoesOnFromIt) {
  Bench whole;
  ASSERT_TRUE(whole.Run(SpecWithQuestions()).ok());
  for (int64_t step = 1; step <= 7; ++step) {
    SCOPED_TRACE(absl::StrCat("stopped after step ", step));
    Bench bench;
    bench.training.on_message =
        [&](const internal::v1::TrainResponse& message) {
          if (message.step().step() == step) bench.job.is_cancelled = true;
        };
    const absl::Status stopped = bench.Run(SpecWithQuestions());
    ASSERT_TRUE(absl::IsCancelled(stopped)) << stopped;
    EXPECT_EQ(bench.training.stop_count, 1);
    EXPECT_THAT(bench.job.items, SizeIs(step));
    EXPECT_THAT(
        bench.OutputNames(),
        Contains(absl::StrCat("checkpoint-0000", step, "/state.safetensors")));
    bench.training.on_message = nullptr;
    bench.job.is_cancelled = false;
    const absl::Status status = bench.Run(SpecWithQuestions());
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(bench.training.start_steps.back(), step);
    EXPECT_EQ(Results(bench.job), Results(whole.job));
  }
}

TEST(FineTuneTest, WhenItIsGivenUpItWaitsForNoCheckpoint) {
  Bench bench;
  bench.job.gives_up = true;
  bench.training.on_message = [&](const internal::v1::TrainResponse& message) {
    if (message.step().step() == 3) bench.job.is_cancelled = true;
  };
  EXPECT_TRUE(absl::IsCancelled(bench.Run(Spec())));
  EXPECT_EQ(bench.training.stop_count, 0);
  EXPECT_THAT(bench.OutputNames(),
              Not(Contains("checkpoint-00003/state.safetensors")));
}

TEST(FineTuneTest, ACheckpointThatTheWorkerRefusesIsPassedOver) {
  Bench bench;
  bench.training.on_message = [&](const internal::v1::TrainResponse& message) {
    if (message.step().step() == 6) bench.training.messages_left = 0;
  };
  ASSERT_TRUE(absl::IsUnavailable(bench.Run(Spec())));
  bench.training.on_message = nullptr;
  bench.training.messages_left = 1000;
  bench.training.refusals[4] = absl::DataLossError("moments are damaged");
  const absl::Status status = bench.Run(Spec());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(bench.training.start_steps, ElementsAre(0, 2));
  EXPECT_THAT(bench.job.log, Contains(HasSubstr("moments are damaged")));
}

TEST(FineTuneTest, ACheckpointWhoseBytesAreDamagedIsPassedOver) {
  Bench bench;
  bench.training.on_message = [&](const internal::v1::TrainResponse& message) {
    if (message.step().step() == 6) bench.training.messages_left = 0;
  };
  ASSERT_TRUE(absl::IsUnavailable(bench.Run(Spec())));
  bench.training.on_message = nullptr;
  bench.training.messages_left = 1000;
  bench.job.outputs["checkpoint-00004/state.safetensors"] = "damaged";
  bench.job.outputs["checkpoint-00002/state.safetensors"] = "damaged";
  ASSERT_TRUE(bench.Run(Spec()).ok());
  EXPECT_THAT(bench.training.start_steps, ElementsAre(0, 0));
}

TEST(FineTuneTest, CheckpointsStayWhenTheWorkerRefusesEverything) {
  Bench bench;
  bench.training.on_message = [&](const internal::v1::TrainResponse& message) {
    if (message.step().step() == 5) bench.training.messages_left = 0;
  };
  ASSERT_TRUE(absl::IsUnavailable(bench.Run(Spec())));
  const auto before = bench.OutputNames();
  bench.training.on_message = nullptr;
  bench.training.messages_left = 1000;
  bench.training.digest = "sha256:other";
  bench.training.refusals[2] = bench.training.refusals[4] =
      absl::FailedPreconditionError("of another training");
  const absl::Status status = bench.Run(Spec());
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("changed after 4 steps"));
  EXPECT_EQ(bench.OutputNames(), before);
}

TEST(FineTuneTest, HalfACheckpointIsNotGoneOnFrom) {
  Bench bench;
  bench.training.on_message = [&](const internal::v1::TrainResponse& message) {
    if (message.step().step() == 5) bench.training.messages_left = 0;
  };
  ASSERT_TRUE(absl::IsUnavailable(bench.Run(Spec())));
  bench.job.outputs.erase("checkpoint-00004/state.safetensors");
  bench.training.on_message = nullptr;
  bench.training.messages_left = 1000;
  ASSERT_TRUE(bench.Run(Spec()).ok());
  EXPECT_EQ(bench.training.start_steps.back(), 2);
}

TEST(FineTuneTest, AFullDiskAtACheckpointLeavesTheOneBefore) {
  Bench whole;
  ASSERT_TRUE(whole.Run(Spec()).ok());
  for (int writes = 1; writes < 40; ++writes) {
    SCOPED_TRACE(absl::StrCat("full after ", writes, " writes"));
    Bench bench;
    bench.job.writes_left = writes;
    const absl::Status full = bench.Run(Spec());
    if (full.ok()) break;
    ASSERT_TRUE(absl::IsResourceExhausted(full)) << full;
    for (const std::string& name : bench.OutputNames()) {
      if (!absl::StartsWith(name, "checkpoint")) continue;
      const std::string folder = name.substr(0, name.find('/'));
      EXPECT_TRUE(bench.job.outputs.contains(folder + "/state.safetensors"));
    }
    bench.job.writes_left.reset();
    ASSERT_TRUE(bench.Run(Spec()).ok());
    EXPECT_EQ(bench.job.items, whole.job.items);
    EXPECT_EQ(Results(bench.job), Results(whole.job));
  }
}

TEST(FineTuneTest, SaysLoudlyWhenAResumedTrainingGivesOtherNumbers) {
  Bench bench;
  bench.training.on_message = [&](const internal::v1::TrainResponse& message) {
    if (message.step().step() == 4) bench.training.messages_left = 0;
  };
  ASSERT_TRUE(absl::IsUnavailable(bench.Run(Spec())));
  bench.training.on_message = nullptr;
  bench.training.messages_left = 1000;
  bench.training.loss_shift = 1e-15;
  ASSERT_TRUE(bench.Run(Spec()).ok());
  EXPECT_THAT(bench.job.log, Contains(HasSubstr("WARNING: step 3")));
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
  EXPECT_THAT(bench.registrar.adapters, SizeIs(1));
}

TEST(FineTuneTest, CheckpointAdaptersAreForgottenHoweverAnAttemptEnds) {
  v1::JobSpec spec = Spec();
  spec.mutable_fine_tune()->mutable_checkpoints()->set_register_adapters(true);
  Bench bench;
  bench.training.on_message = [&](const internal::v1::TrainResponse& message) {
    if (message.step().step() == 5) bench.training.messages_left = 0;
  };
  ASSERT_TRUE(absl::IsUnavailable(bench.Run(spec)));
  EXPECT_THAT(bench.registrar.registered, SizeIs(2));
  EXPECT_THAT(bench.registrar.adapters, IsEmpty());
}

TEST(FineTuneTest, ACrashedServersCheckpointAdaptersAreForgotten) {
  v1::JobSpec spec = Spec();
  spec.mutable_fine_tune()->mutable_checkpoints()->set_register_adapters(true);
  Bench bench;
  std::map<std::string, v1::Adapter> registered;
  v1::Job crashed;
  *crashed.mutable_spec() = spec;
  crashed.set_owner("users/ada");
  bench.training.on_message = [&](const internal::v1::TrainResponse& message) {
    if (message.step().step() != 5) return;
    registered = bench.registrar.adapters;
    for (const v1::JobOutput& output : *bench.job.Outputs()) {
      *crashed.add_outputs() = output;
    }
  };
  ASSERT_TRUE(bench.Run(spec).ok());
  ASSERT_THAT(registered, SizeIs(2));
  // Somebody's own, whose name looks like one.
  registered["models/m/adapters/out.step-4"].mutable_artifacts()->set_weights(
      "artifacts/own");
  bench.registrar.adapters = registered;
  ASSERT_TRUE(ForgetCheckpointAdapters(crashed, bench.registrar).ok());
  ASSERT_THAT(bench.registrar.adapters, SizeIs(1));
  EXPECT_EQ(bench.registrar.adapters.begin()->first,
            "models/m/adapters/out.step-4");
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
  EXPECT_THAT(bench.registrar.adapters, IsEmpty());
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

TEST(FineTuneTest, AnAdapterThatIsThereIsReplacedOnlyIfAsked) {
  Bench bench;
  bench.registrar.adapters[kOutput].set_name(kOutput);
  v1::JobSpec spec = Spec();
  EXPECT_TRUE(absl::IsAlreadyExists(bench.Validate(spec)));
  // It may have come since the job was made.
  const absl::Status status = bench.Run(spec);
  EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("artifacts/sha256:"));
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
  ASSERT_TRUE(bench.Run(Spec()).ok());
  FineTune kind(bench.Parts());
  EXPECT_TRUE(kind.ValidateReplay(Spec()).ok());
  const auto first = Results(bench.job);
  bench.job = FakeJob();
  bench.job.stored().set_replay_of("jobs/first");
  bench.registrar.registered.clear();
  ASSERT_TRUE(bench.Run(Spec()).ok());
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

TEST(FineTuneTest, NoMemoryInTheWorkerFailsWithItsFigures) {
  Bench bench;
  bench.training.messages_left = 0;
  bench.training.loss = absl::ResourceExhaustedError("needs 9 GiB, 2 free");
  const absl::Status status = bench.Run(Spec());
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(status.message(), HasSubstr("9 GiB"));
}

}  // namespace
}  // namespace dissonance
