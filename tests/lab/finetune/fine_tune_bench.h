// A server with a played worker and one job in memory, for tests of fine_tune
// jobs.
#ifndef DISSONANCE_TESTS_LAB_FINETUNE_FINE_TUNE_BENCH_H_
#define DISSONANCE_TESTS_LAB_FINETUNE_FINE_TUNE_BENCH_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "src/base/json_lines.h"
#include "src/lab/finetune/fine_tune.h"
#include "tests/lab/eval/fake_compute.h"
#include "tests/lab/finetune/fake_training.h"

namespace dissonance {

inline constexpr char kOutput[] = "models/m/adapters/out";

inline std::string Questions() {
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

inline v1::JobSpec Spec() {
  v1::JobSpec spec;
  v1::FineTuneSpec& fine_tune = *spec.mutable_fine_tune();
  fine_tune.set_model("models/m");
  fine_tune.set_output_adapter(kOutput);
  fine_tune.set_data("{\"content\": \"one\"}\n\n{\"content\": \"two\"}\n");
  fine_tune.set_data_name("docs.jsonl");
  fine_tune.mutable_checkpoints()->set_step_count(2);
  return spec;
}

inline v1::JobSpec SpecWithQuestions() {
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
  // The worker is lost when it has told of this step.
  absl::Status RunUntilLostAfter(int64_t step, const v1::JobSpec& spec) {
    training.on_message = [this,
                           step](const internal::v1::TrainResponse& message) {
      if (message.step().step() == step) training.messages_left = 0;
    };
    const absl::Status status = Run(spec);
    training.on_message = nullptr;
    training.messages_left = 1000;
    return status;
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

// Outputs that another run gives as well.
inline std::map<std::string, std::string> Results(const FakeJob& job) {
  std::map<std::string, std::string> results = job.outputs;
  for (const std::string& name : job.run_outputs) results.erase(name);
  return results;
}

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_FINETUNE_FINE_TUNE_BENCH_H_
