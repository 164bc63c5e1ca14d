#include "tests/endurance/job_mix.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "src/base/file.h"
#include "tests/endurance/tiny_world.h"
#include "tests/server/server_fixture.h"

namespace dissonance {
namespace {

constexpr uint64_t kQuestionsLimitBytes = 16 << 20;
constexpr int kScoringCount = 6;
constexpr int kPriorityCount = 3;
constexpr int kTinyWidth = 128;

const std::vector<std::string>& Questions() {
  static const std::vector<std::string> questions = absl::StrSplit(
      ReadFile(InTree("data/tiny_world/mcqs.jsonl"), kQuestionsLimitBytes)
          .value_or(""),
      '\n', absl::SkipEmpty());
  return questions;
}

Fate FateOf(int index) {
  if (index % 10 == 3) return Fate::kCancelAndRetry;
  return index % 10 == 7 ? Fate::kCancel : Fate::kFinish;
}

constexpr int kFirstControl = 120;  // conflicts come before it

v1::Variant Tuned() {
  v1::Variant variant;
  variant.set_model(kTinyModel);
  variant.set_adapter(kTinyAdapter);
  return variant;
}

// Probes of conflicts and controls, as many of each.
v1::JobSpec ProbesJob(int index) {
  const v1::EvaluateMcqSpec asked =
      QuestionsJob(kFirstControl - 6, 12).evaluate_mcq();
  v1::JobSpec spec;
  v1::TrainProbesSpec& probes = *spec.mutable_train_probes();
  probes.add_variants()->set_model(kTinyModel);
  *probes.add_variants() = Tuned();
  probes.set_data(asked.data());
  probes.set_data_name(asked.data_name());
  probes.add_blocks(index % 6);
  probes.add_targets()->set_source(v1::LABEL_SOURCE_CATEGORY_CONFLICT);
  probes.add_targets()->set_source(v1::LABEL_SOURCE_ANSWERED_FALSE);
  v1::ProbeOptions& options = *probes.mutable_options();
  options.set_fold_count(2);
  options.set_permutation_count(2);
  options.set_bootstrap_count(10);
  options.set_seed(static_cast<uint64_t>(index));
  return spec;
}

// Along an axis, at two blocks.
v1::JobSpec SteeringJob(int index) {
  const v1::EvaluateMcqSpec asked =
      QuestionsJob(kFirstControl - 3, 5).evaluate_mcq();
  v1::JobSpec spec;
  v1::SteeringSweepSpec& sweep = *spec.mutable_steering_sweep();
  *sweep.mutable_variant() = Tuned();
  sweep.set_data(asked.data());
  sweep.set_data_name(asked.data_name());
  v1::Tensor& axis =
      *sweep.add_directions()->mutable_vector()->mutable_tensor();
  std::vector<float> numbers(kTinyWidth, 0.0F);
  numbers[static_cast<size_t>(index % kTinyWidth)] = 1.0F;
  axis.set_dtype(v1::DTYPE_FLOAT32);
  axis.add_shape(kTinyWidth);
  axis.set_data(numbers.data(), numbers.size() * sizeof(float));
  for (const int block : {1, 4}) sweep.add_blocks(block);
  for (const double coefficient : {-4.0, 4.0}) {
    sweep.add_coefficients(coefficient);
  }
  sweep.set_null_count(2);
  sweep.set_refine_count(1);
  sweep.set_sample_count(1);
  sweep.set_sample_token_count(4);
  return spec;
}

PlannedJob Plan(int index) {
  PlannedJob job;
  job.spec = QuestionsJob(/*first=*/index * 11, /*count=*/8 + index % 5 * 8);
  job.priority = static_cast<v1::JobPriority>(1 + index % kPriorityCount);
  job.fate = FateOf(index);
  if (index % 8 == 2) job.spec = ProbesJob(index);
  if (index % 8 == 5) job.spec = SteeringJob(index);
  if (!job.spec.has_evaluate_mcq()) return job;
  v1::EvaluateMcqSpec& mcq = *job.spec.mutable_evaluate_mcq();
  mcq.set_scoring(static_cast<v1::McqScoring>(1 + index % kScoringCount));
  mcq.add_variants()->set_model(kTinyModel);
  if (index % 3 == 0) return job;
  v1::Variant& tuned = *mcq.add_variants();
  tuned.set_model(kTinyModel);
  const bool has_dropout = index % 4 < 2;
  tuned.set_adapter(has_dropout ? kDropoutAdapter : kTinyAdapter);
  mcq.set_mc_dropout_sample_count(has_dropout ? 2 + index % 3 : 0);
  mcq.set_seed(static_cast<uint64_t>(index));
  return job;
}

}  // namespace

v1::JobSpec QuestionsJob(int first, int count) {
  const std::vector<std::string>& questions = Questions();
  v1::JobSpec spec;
  v1::EvaluateMcqSpec& mcq = *spec.mutable_evaluate_mcq();
  mcq.set_data_name("mcqs.jsonl");
  for (int i = 0; i < count; ++i) {
    const size_t at = static_cast<size_t>(first + i) % questions.size();
    absl::StrAppend(mcq.mutable_data(), questions[at], "\n");
  }
  return spec;
}

std::vector<PlannedJob> JobMix(int count, bool with_dependencies) {
  std::vector<PlannedJob> mix;
  for (int i = 0; i < count; ++i) mix.push_back(Plan(i));
  for (int i = 1; with_dependencies && i < count; ++i) {
    mix[i].follows = i % 4 == 1 && mix[i - 1].fate == Fate::kFinish &&
                     mix[i].fate == Fate::kFinish;
  }
  return mix;
}

}  // namespace dissonance
