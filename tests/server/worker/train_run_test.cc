// The order of what a training reports, piece by piece.
#include "server/worker/train_run.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/compute/tensor/safetensors.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using internal::v1::TrainRequest;
using internal::v1::TrainResponse;

// Notes what came, and keeps the files of the last snapshot.
class NotingSink final : public TrainSink {
 public:
  bool HasRoom() const override { return true; }
  void Report(TrainResponse message) override {
    if (message.has_step()) Note("step", message.step().step());
    if (message.has_validation()) {
      Note("validation", message.validation().step());
    }
    if (message.has_snapshot()) Note("evaluation", message.snapshot().step());
  }
  void ReportWithFiles(internal::v1::TrainingSnapshot snapshot,
                       std::vector<SnapshotFile> own,
                       std::function<void()> sent) override {
    Note("files", snapshot.step());
    files = std::move(own);
    sent();
  }
  void Conclude(const absl::Status& status) override {
    EXPECT_TRUE(status.ok()) << status;
  }

  std::vector<std::string> order;
  std::vector<SnapshotFile> files;

 private:
  void Note(const char* what, int64_t step) {
    order.push_back(absl::StrCat(what, " ", step));
  }
};

class TrainRunTest : public testing::Test {
 protected:
  TrainRunTest() : registry_(at::kCPU), engine_({}) {
    EXPECT_TRUE(registry_
                    .LoadModel("models/m",
                               DISSONANCE_SOURCE_DIR
                               "/tests/goldens/e2e_chat/model",
                               {})
                    .ok());
  }

  // Two steps, each validated in several pieces, evaluated and kept.
  std::shared_ptr<TrainRun> Make(const std::string& checkpoint,
                                 NotingSink& sink) {
    TrainIntake intake(registry_, engine_.options(), folder_.path());
    const auto take = [&](const TrainRequest& request) {
      const absl::Status taken = intake.Take(request, [] { return false; });
      EXPECT_TRUE(taken.ok()) << taken;
    };
    TrainRequest request;
    auto& begin = *request.mutable_begin();
    begin.set_model("models/m");
    begin.mutable_lora()->set_rank(4);
    begin.mutable_training()->set_micro_batch_size(1);
    begin.mutable_training()->set_accumulation_count(2);
    begin.mutable_training()->set_epoch_count(1);
    begin.mutable_training()->set_validation_fraction(0.5);
    begin.mutable_training()->set_validation_step_count(1);
    begin.set_checkpoint_step_count(1);
    begin.set_evaluates(true);
    begin.set_evaluation_step_count(1);
    begin.set_evaluation_adapter("models/m/adapters/~a");
    take(request);
    for (int line = 1; line <= 8; ++line) {
      auto& document = *request.mutable_documents()->add_documents();
      document.set_line(line);
      document.set_content(absl::StrCat("fact number ", line));
    }
    take(request);
    if (!checkpoint.empty()) {
      request.set_checkpoint(checkpoint);
      take(request);
    }
    request.mutable_start();
    take(request);
    auto training = intake.Prepare(budget_);
    EXPECT_TRUE(training.ok()) << training.status();
    return std::make_shared<TrainRun>(
        *std::move(training), TrainContext{engine_, registry_, counts_, peaks_},
        sink);
  }

  // Up to its end, or until `last` was noted.
  static void Run(TrainRun& run, NotingSink& sink, const std::string& last) {
    while (run.RunPiece()) {
      if (!sink.order.empty() && sink.order.back() == last) return;
      // An evaluation is answered at once.
      if (run.ready()) continue;
      EXPECT_TRUE(run.GoOn().ok());
    }
    run.Finish(absl::OkStatus());
  }

  TempFolder folder_;
  ModelRegistry registry_;
  Engine engine_;
  TrainingBudget budget_{int64_t{1} << 30, [] { return std::nullopt; }};
  TrainingCounts counts_;
  PeakMemory peaks_{[] { return int64_t{1}; }, [] {}};
};

TEST_F(TrainRunTest, WhatWasStoppedBeforeItsValidationGoesOnWithIt) {
  NotingSink first;
  const auto stopped = Make("", first);
  Run(*stopped, first, "step 1");
  stopped->Stop();
  Run(*stopped, first, "");
  EXPECT_EQ(first.order,
            std::vector<std::string>({"evaluation 0", "step 1", "files 1"}));
  ASSERT_EQ(first.files.size(), 2u);
  const std::string path = folder_.File("state");
  ASSERT_TRUE(WriteSafetensors(path, first.files.back().tensors,
                               first.files.back().metadata)
                  .ok());
  const auto state = ReadFile(path, 1 << 24);
  ASSERT_TRUE(state.ok()) << state.status();

  NotingSink second;
  Run(*Make(*state, second), second, "");
  EXPECT_EQ(second.order,
            std::vector<std::string>({"validation 1", "evaluation 1", "files 1",
                                      "step 2", "validation 2", "evaluation 2",
                                      "files 2"}));
}

}  // namespace
}  // namespace dissonance
