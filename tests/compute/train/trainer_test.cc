// A training as a whole: the same bits whatever interrupts it, and what it
// refuses.
#include "src/compute/train/trainer.h"

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "src/base/file.h"
#include "tests/compute/train/training_fixture.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using testing::HasSubstr;

constexpr double kDropout = 0.1;

TrainingOptions SmallOptions() {
  TrainingOptions options;
  options.epoch_count = 2;
  options.learning_rate = 5e-3;
  options.warmup_step_count = 2;
  options.micro_batch_size = 2;
  options.accumulation_count = 2;
  options.weight_decay = 0.01;
  options.validation_step_count = 2;
  return options;
}

class TrainerTest : public testing::Test {
 protected:
  std::unique_ptr<Trainer> Make(const TrainingOptions& options) {
    absl::StatusOr<std::unique_ptr<Trainer>> made = Trainer::Create(
        model_, FreshLora(*model_, kDropout), documents_, validation_, options);
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }

  // The trainer's state, through a file.
  absl::Status Hand(const Trainer& from, Trainer& to) {
    const TrainingState state = from.state();
    const std::string path = folder_.path() + "/state.safetensors";
    absl::Status written =
        WriteSafetensors(path, state.tensors, state.metadata);
    if (!written.ok()) return written;
    const auto file = SafetensorsFile::Open(path);
    return file.ok() ? to.Restore(**file) : file.status();
  }

  TempFolder folder_;
  std::shared_ptr<const Model> model_ = GoldenModel("llama", at::kFloat);
  std::vector<TrainingDocument> documents_ =
      RandomDocuments(*model_, {5, 12, 19, 33, 8, 47, 12, 26, 7}, 3);
  std::vector<TrainingDocument> validation_ =
      RandomDocuments(*model_, {9, 21, 4}, 4);
};

TEST_F(TrainerTest, ResumedAfterAnyPieceItGivesTheSameBits) {
  TrainingOptions options = SmallOptions();
  options.early_stop_patience = 100;
  const std::unique_ptr<Trainer> whole = Make(options);
  const std::vector<StepReport> reports = TrainToEnd(*whole);
  ASSERT_EQ(reports.size(), 6U);
  int64_t pieces = 0;
  for (bool finished = false; !finished; ++pieces) {
    const std::unique_ptr<Trainer> first = Make(options);
    for (int64_t i = 0; i <= pieces && !finished; ++i) {
      finished = first->RunPiece()->finished;
    }
    const std::unique_ptr<Trainer> second = Make(options);
    ASSERT_TRUE(Hand(*first, *second).ok());
    const std::vector<StepReport> rest = TrainToEnd(*second);
    ASSERT_EQ(static_cast<int64_t>(rest.size()), 6 - first->step());
    for (size_t i = 0; i < rest.size(); ++i) {
      const StepReport& expected = reports[reports.size() - rest.size() + i];
      EXPECT_EQ(rest[i].loss, expected.loss);
      EXPECT_EQ(rest[i].grad_norm, expected.grad_norm);
      EXPECT_EQ(rest[i].learning_rate, expected.learning_rate);
    }
    EXPECT_EQ(WeightBytes(*second), WeightBytes(*whole)) << pieces;
    EXPECT_EQ(second->best_step(), whole->best_step());
  }
  EXPECT_GE(pieces, 6 * 2);
}

TEST_F(TrainerTest, TheSeedDecidesOrderAndDropout) {
  TrainingOptions options = SmallOptions();
  const std::unique_ptr<Trainer> first = Make(options);
  const std::unique_ptr<Trainer> again = Make(options);
  options.seed = 43;
  const std::unique_ptr<Trainer> other = Make(options);
  TrainToEnd(*first);
  TrainToEnd(*again);
  TrainToEnd(*other);
  EXPECT_EQ(WeightBytes(*first), WeightBytes(*again));
  EXPECT_NE(WeightBytes(*first), WeightBytes(*other));
  EXPECT_NE(first->digest(), other->digest());
}

TEST_F(TrainerTest, RefusesTheStateOfAnotherTraining) {
  TrainingOptions options = SmallOptions();
  const std::unique_ptr<Trainer> first = Make(options);
  TrainToEnd(*first);
  options.learning_rate = 1e-3;
  const std::unique_ptr<Trainer> other = Make(options);
  const std::string before = WeightBytes(*other);
  const absl::Status refused = Hand(*first, *other);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("another training"));
  EXPECT_EQ(WeightBytes(*other), before);
}

TEST_F(TrainerTest, StopsEarlyWithTheBestWeights) {
  TrainingOptions options = SmallOptions();
  options.epoch_count = 40;
  options.learning_rate = 0.05;
  options.early_stop_patience = 2;
  const std::unique_ptr<Trainer> trainer = Make(options);
  std::vector<ValidationReport> validations;
  std::string best;
  while (true) {
    const auto piece = trainer->RunPiece();
    ASSERT_TRUE(piece.ok()) << piece.status();
    if (piece->validation.has_value()) {
      validations.push_back(*piece->validation);
      if (piece->validation->best && !piece->finished) {
        best = WeightBytes(*trainer);
      }
    }
    if (piece->finished) break;
  }
  ASSERT_TRUE(trainer->stopped_early());
  ASSERT_GE(validations.size(), 3U);
  EXPECT_FALSE(validations.back().best);
  EXPECT_LT(trainer->step(), trainer->schedule().step_count);
  EXPECT_EQ(trainer->best_step(), validations[validations.size() - 3].step);
  EXPECT_EQ(WeightBytes(*trainer), best);
}

TEST_F(TrainerTest, NamesStepBlockAndDocumentOfWhatIsNotFinite) {
  TrainingOptions options = SmallOptions();
  options.learning_rate = 1e30;
  options.max_grad_norm = 0;
  options.warmup_step_count = 0;
  const std::unique_ptr<Trainer> trainer = Make(options);
  absl::StatusOr<TrainingPiece> piece = trainer->RunPiece();
  int64_t steps = 0;
  while (piece.ok() && !piece->finished) {
    if (piece->step.has_value()) ++steps;
    piece = trainer->RunPiece();
  }
  ASSERT_EQ(piece.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(piece.status().message(),
              testing::AllOf(HasSubstr(absl::StrCat("step ", steps + 1)),
                             HasSubstr("line "), HasSubstr("block ")));
  EXPECT_EQ(trainer->RunPiece().status(), piece.status());
  EXPECT_EQ(trainer->state().step, steps);
}

TEST_F(TrainerTest, RefusesBadDocumentsByLine) {
  const auto refusal = [&](std::vector<TrainingDocument> documents) {
    return Trainer::Create(model_, FreshLora(*model_), std::move(documents), {},
                           SmallOptions())
        .status();
  };
  EXPECT_THAT(refusal({}).message(), HasSubstr("no documents"));
  std::vector<TrainingDocument> one = RandomDocuments(*model_, {5, 1}, 3);
  EXPECT_THAT(refusal(one).message(),
              testing::AllOf(HasSubstr("line 2"), HasSubstr("no token")));
  one = RandomDocuments(*model_, {5}, 3);
  one[0].tokens[2] = 99999;
  EXPECT_THAT(refusal(one).message(),
              testing::AllOf(HasSubstr("line 1"), HasSubstr("99999")));
  one = RandomDocuments(*model_, {model_->spec().max_positions + 1}, 3);
  EXPECT_THAT(refusal(one).message(), HasSubstr("positions end at"));
}

TEST_F(TrainerTest, RefusesOptionsByName) {
  const auto refusal = [&](auto change) {
    TrainingOptions options = SmallOptions();
    change(options);
    return std::string(
        Trainer::Create(model_, FreshLora(*model_), documents_, {}, options)
            .status()
            .message());
  };
  EXPECT_THAT(refusal([](auto& o) { o.epoch_count = 0; }),
              HasSubstr("epoch_count"));
  EXPECT_THAT(refusal([](auto& o) { o.learning_rate = -1; }),
              HasSubstr("learning_rate"));
  EXPECT_THAT(refusal([](auto& o) {
                o.learning_rate = std::numeric_limits<double>::quiet_NaN();
              }),
              HasSubstr("learning_rate"));
  EXPECT_THAT(refusal([](auto& o) { o.beta2 = 1; }), HasSubstr("beta2"));
  EXPECT_THAT(refusal([](auto& o) { o.micro_batch_size = 0; }),
              HasSubstr("micro_batch_size"));
}

TEST_F(TrainerTest, ItsAdapterIsWhatPeftWouldRead) {
  const std::unique_ptr<Trainer> trainer = Make(SmallOptions());
  TrainToEnd(*trainer);
  const auto made = trainer->MakeAdapter();
  ASSERT_TRUE(made.ok()) << made.status();
  const std::string folder = folder_.path();
  ASSERT_TRUE(WriteSafetensors(folder + "/adapter_model.safetensors",
                               trainer->PeftTensors())
                  .ok());
  ASSERT_TRUE(WriteFileAtomically(
                  folder + "/adapter_config.json",
                  PeftConfigJson(trainer->lora().config(), model_->spec(), ""))
                  .ok());
  const auto loaded = LoraAdapter::Load(folder, *model_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  for (int64_t block = 0; block < model_->spec().block_count(); ++block) {
    const LoraGroup& own = (*made)->group(block, ProjectionGroup::kQkv);
    const LoraGroup& read = (*loaded)->group(block, ProjectionGroup::kQkv);
    EXPECT_TRUE(own.down.equal(read.down));
    EXPECT_TRUE(own.modules[1].up.equal(read.modules[1].up));
  }
}

}  // namespace
}  // namespace dissonance
