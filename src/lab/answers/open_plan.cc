#include "src/lab/answers/open_plan.h"

#include <cmath>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/answers/open_prompt.h"

namespace dissonance {
namespace {

constexpr int kMaxSamples = 100;
constexpr int kMaxNewTokens = 8192;
// Of all answers together, which the files hold one by one.
constexpr int64_t kMaxTokens = int64_t{1} << 24;

absl::Status BadNumber(absl::string_view field, absl::string_view expected,
                       double found) {
  return OpenFields().Bad(
      field, absl::StrCat("expected ", expected, ", found ", found));
}

absl::Status SetSampling(const v1::EvaluateOpenSpec& spec, OpenPlan& plan) {
  if (spec.sample_count() != 0) plan.sample_count = spec.sample_count();
  if (plan.sample_count < 1 || plan.sample_count > kMaxSamples) {
    return BadNumber("sample_count", absl::StrCat("1 to ", kMaxSamples),
                     plan.sample_count);
  }
  if (spec.has_temperature()) plan.temperature = spec.temperature();
  if (!std::isfinite(plan.temperature) || plan.temperature < 0) {
    return BadNumber("temperature", "0 or more", plan.temperature);
  }
  if (plan.greedy() && plan.sample_count > 1) {
    return OpenFields().Bad(
        "sample_count",
        absl::StrCat("the ", plan.sample_count,
                     " samples would all be alike, because answers are greedy; "
                     "set a temperature, or take 1"));
  }
  if (spec.has_top_p()) plan.top_p = spec.top_p();
  if (!(plan.top_p > 0 && plan.top_p <= 1)) {
    return BadNumber("top_p", "more than 0 and at most 1", plan.top_p);
  }
  if (plan.greedy() && spec.has_top_p()) {
    return OpenFields().Bad("top_p",
                            "changes nothing, because answers are greedy; set "
                            "a temperature, or leave it out");
  }
  if (spec.has_seed()) plan.seed = spec.seed();
  return absl::OkStatus();
}

absl::Status SetLength(const v1::EvaluateOpenSpec& spec, OpenPlan& plan) {
  if (spec.max_new_tokens() != 0) plan.max_new_tokens = spec.max_new_tokens();
  if (plan.max_new_tokens < 1 || plan.max_new_tokens > kMaxNewTokens) {
    return BadNumber("max_new_tokens", absl::StrCat("1 to ", kMaxNewTokens),
                     plan.max_new_tokens);
  }
  const auto answers =
      static_cast<int64_t>(plan.questions.size() * plan.variants.size()) *
      plan.sample_count;
  if (answers > kMaxTokens / plan.max_new_tokens) {
    return OpenFields().Bad(
        "data", absl::StrCat(answers, " answers of up to ", plan.max_new_tokens,
                             " tokens; at most ", kMaxTokens,
                             " tokens in all, so split the file, or lower "
                             "sample_count or max_new_tokens"));
  }
  return absl::OkStatus();
}

}  // namespace

const SpecFields& OpenFields() {
  static const SpecFields& fields = *new SpecFields("evaluate_open");
  return fields;
}

absl::StatusOr<OpenPlan> MakeOpenPlan(const v1::JobSpec& job_spec) {
  if (!job_spec.has_evaluate_open()) {
    return absl::InvalidArgumentError("spec.kind: expected evaluate_open");
  }
  const v1::EvaluateOpenSpec& spec = job_spec.evaluate_open();
  RETURN_IF_ERROR(OpenFields().CheckVariants(spec.variants()));
  const PromptData data = PromptDataOf(spec);
  RETURN_IF_ERROR(OpenFields().CheckData(data));
  OpenPlan plan;
  plan.variants.assign(spec.variants().begin(), spec.variants().end());
  ASSIGN_OR_RETURN(plan.mode, ResolveOpenMode(spec.mode()));
  RETURN_IF_ERROR(SetSampling(spec, plan));
  ASSIGN_OR_RETURN(
      plan.questions,
      ParseOpenQuestions(data.bytes, data.name.empty() ? "data" : data.name));
  RETURN_IF_ERROR(SetLength(spec, plan));
  return plan;
}

uint64_t OpenSeed(uint64_t seed, size_t question, int sample) {
  return seed + 1000 * (static_cast<uint64_t>(question) + 1) +
         static_cast<uint64_t>(sample);
}

}  // namespace dissonance
