#include "src/lab/judge/judge_plan.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/docgen/shipped_prompts.h"
#include "src/lab/docgen/universe.h"
#include "src/lab/llm/chat_endpoints.h"
#include "src/lab/llm/hosted_model.h"

namespace dissonance {
namespace {

constexpr size_t kDataLimitBytes = size_t{16} << 20;
// Of the answers of a job, over all its variants.
constexpr int64_t kJobAnswersLimitBytes = int64_t{256} << 20;
constexpr int64_t kMostJudgements = 1'000'000;
constexpr size_t kUniverseLimitBytes = size_t{1} << 20;
constexpr char kUntoldWorld[] =
    "You are not told what the false world is like: an answer that states as "
    "fact what is false in the real world is of the false world.";
constexpr int32_t kDefaultRetries = 2;
constexpr int32_t kMostRetries = 20;
constexpr int32_t kMostPasses = 2;

absl::Status Bad(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("judge.", field, ": ", what));
}

// The order in which variants were asked: base, lora, then by number.
auto Order(const std::string& file_name) {
  absl::string_view variant = file_name;
  absl::ConsumePrefix(&variant, "answers_");
  absl::ConsumeSuffix(&variant, ".jsonl");
  int64_t number = 0;
  if (variant == "base") {
    number = -2;
  } else if (variant == "lora") {
    number = -1;
  } else if (!absl::SimpleAtoi(variant, &number)) {
    number = std::numeric_limits<int64_t>::max();
  }
  return std::tuple(number, std::string(variant));
}

absl::StatusOr<std::vector<NamedText>> FilesOf(const std::string& name,
                                               FinishedJobs& jobs) {
  ASSIGN_OR_RETURN(const v1::Job job, jobs.Find(name));
  if (!job.spec().has_evaluate_open()) {
    return Bad("job", absl::StrCat(job.name(), " is no evaluate_open job"));
  }
  if (job.state() != v1::JOB_STATE_SUCCEEDED) {
    return Bad("job",
               absl::StrCat(job.name(), " has not succeeded; wait for it"));
  }
  std::vector<std::string> names;
  int64_t size_bytes = 0;
  for (const v1::JobOutput& output : job.outputs()) {
    if (absl::StartsWith(output.file_name(), "answers_") &&
        absl::EndsWith(output.file_name(), ".jsonl")) {
      names.push_back(output.file_name());
      size_bytes += output.size_bytes();
    }
  }
  std::sort(names.begin(), names.end(),
            [](const auto& a, const auto& b) { return Order(a) < Order(b); });
  if (names.empty()) {
    return Bad("job", absl::StrCat(job.name(), " has no answers_*.jsonl"));
  }
  if (size_bytes > kJobAnswersLimitBytes) {
    return Bad("job",
               absl::StrCat("the answers of ", job.name(), " are ", size_bytes,
                            " bytes; at most ", kJobAnswersLimitBytes,
                            ": give a part of them as data"));
  }
  std::vector<NamedText> files;
  for (const std::string& file : names) {
    ASSIGN_OR_RETURN(std::string contents, jobs.ReadOutput(job, file));
    files.push_back({file, std::move(contents)});
  }
  return files;
}

absl::Status TakeAnswers(const v1::JudgeSpec& spec, FinishedJobs& jobs,
                         JudgePlan& plan) {
  std::vector<NamedText> files;
  if (!spec.job().empty()) {
    if (!spec.data().empty() || !spec.data_artifact().empty()) {
      return Bad("job", "there is data as well; give one of them");
    }
    ASSIGN_OR_RETURN(files, FilesOf(spec.job(), jobs));
  } else {
    if (spec.data().empty()) {
      return Bad("data",
                 "missing; give answers, or the job that wrote them as `job`");
    }
    if (spec.data_artifact().empty() && spec.data().size() > kDataLimitBytes) {
      return Bad("data",
                 absl::StrCat(spec.data().size(), " bytes; at most ",
                              kDataLimitBytes, ", more as data_artifact"));
    }
    files.push_back({spec.data_name().empty() ? "judge.data" : spec.data_name(),
                     spec.data()});
  }
  ASSIGN_OR_RETURN(plan.answers, ReadAnswers(files));
  for (const NamedText& file : files) {
    plan.files.push_back({file.name, Sha256Of(file.contents)});
  }
  if (plan.size() <= kMostJudgements) return absl::OkStatus();
  return Bad(spec.job().empty() ? "data" : "job",
             absl::StrCat(plan.answers.size(), " answers, each judged ",
                          plan.passes.size(), " times; at most ",
                          kMostJudgements, " judgements: give fewer answers"));
}

std::string JudgeName(const v1::HostedModel& model) {
  return absl::StrCat(
      model.endpoint().empty() ? ChatEndpoints::kDefault : model.endpoint(),
      "/", model.model());
}

absl::Status TakeJudges(const v1::JudgeSpec& spec, JudgePlan& plan) {
  if (spec.pass_count() < 0 || spec.pass_count() > kMostPasses) {
    return Bad("pass_count", "expected 1 or 2");
  }
  v1::HostedModel judge = spec.judge();
  RETURN_IF_ERROR(FillHostedModel("judge.judge", /*temperature=*/0, judge));
  for (int32_t pass = 1; pass <= std::max(1, spec.pass_count()); ++pass) {
    plan.passes.push_back({judge, JudgeName(judge), pass, pass - 1});
  }
  if (!spec.has_second_judge()) return absl::OkStatus();
  v1::HostedModel second = spec.second_judge();
  RETURN_IF_ERROR(
      FillHostedModel("judge.second_judge", /*temperature=*/0, second));
  if (JudgeName(second) == JudgeName(judge)) {
    return Bad("second_judge",
               "it is the first; to have that judge twice set pass_count to 2");
  }
  plan.passes.push_back(
      {second, JudgeName(second), 1, std::ssize(plan.passes)});
  return absl::OkStatus();
}

absl::Status TakeUniverse(const v1::JudgeSpec& spec, JudgePlan& plan) {
  if (spec.universe().empty()) {
    if (plan.names_world) plan.false_world = kUntoldWorld;
    return absl::OkStatus();
  }
  if (spec.universe().size() > kUniverseLimitBytes) {
    return Bad("universe",
               absl::StrCat(spec.universe().size(), " bytes; at most ",
                            kUniverseLimitBytes));
  }
  ASSIGN_OR_RETURN(const Universe universe,
                   ParseUniverse(spec.universe(), "judge.universe"));
  if (universe.is_true) {
    return Bad("universe", "is_true: it is the true world; give the false one");
  }
  plan.false_world = absl::StrCat(
      "The false world, which the answer may be of:\n\n<false_world>\n",
      universe.context, "\n</false_world>");
  return absl::OkStatus();
}

}  // namespace

ChatRequest JudgePlan::Ask(const PlannedPass& pass, size_t answer,
                           int64_t tried) const {
  const FreeAnswer& asked = answers.at(answer);
  ChatRequest request =
      AskHosted(pass.model, prompt.Fill({{"question", asked.question},
                                         {"answer", asked.answer},
                                         {"false_world", false_world}}));
  request.json_object = true;
  const int64_t judgement =
      static_cast<int64_t>(answer) * std::ssize(passes) + pass.number;
  request.attempt = judgement * (retries + 1) + tried;
  return request;
}

absl::StatusOr<JudgePlan> MakeJudgePlan(const v1::JudgeSpec& spec,
                                        FinishedJobs& jobs) {
  JudgePlan plan;
  if (!v1::JudgeMode_IsValid(spec.mode())) {
    return Bad("mode", absl::StrCat("there is no mode ", spec.mode()));
  }
  plan.names_world = spec.mode() != v1::JUDGE_MODE_DOUBT_ONLY;
  const int32_t retries = spec.has_retries() ? spec.retries() : kDefaultRetries;
  if (retries < 0 || retries > kMostRetries) {
    return Bad("retries", absl::StrCat("expected 0 to ", kMostRetries));
  }
  plan.retries = retries;
  RETURN_IF_ERROR(TakeJudges(spec, plan));
  RETURN_IF_ERROR(TakeUniverse(spec, plan));
  RETURN_IF_ERROR(TakeAnswers(spec, jobs, plan));
  ASSIGN_OR_RETURN(
      plan.prompt,
      PromptTemplate::Parse(
          plan.names_world ? kJudgeWorldAndDoubtPrompt : kJudgeDoubtOnlyPrompt,
          plan.names_world ? "judge_world_and_doubt" : "judge_doubt_only",
          {"question", "answer", "false_world"}));
  return plan;
}

}  // namespace dissonance
