#include "tests/endurance/job_mix.h"

#include <string>

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

PlannedJob Plan(int index) {
  PlannedJob job;
  job.spec = QuestionsJob(/*first=*/index * 11, /*count=*/8 + index % 5 * 8);
  job.priority = static_cast<v1::JobPriority>(1 + index % kPriorityCount);
  job.fate = FateOf(index);
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
