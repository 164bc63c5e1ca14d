#include "src/lab/judge/judge.h"

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/files/row_files.h"
#include "src/lab/jobs/job_files.h"
#include "src/lab/judge/judge_plan.h"
#include "src/lab/judge/judge_summary.h"
#include "src/lab/judge/judge_task.h"
#include "src/lab/judge/judgement.h"
#include "src/lab/llm/call_cost.h"
#include "src/lab/llm/call_runner.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;
using Passes = absl::Span<const PlannedPass>;

absl::Status CheckKind(const v1::JobSpec& spec) {
  return spec.has_judge()
             ? absl::OkStatus()
             : absl::InvalidArgumentError("spec.kind: expected judge");
}

// The passes of each judge.
std::vector<Passes> ByJudge(const JudgePlan& plan) {
  const Passes all = plan.passes;
  std::vector<Passes> groups;
  for (size_t begin = 0; begin < all.size(); begin += groups.back().size()) {
    size_t end = begin + 1;
    while (end < all.size() && all[end].judge == all[begin].judge) ++end;
    groups.push_back(all.subspan(begin, end - begin));
  }
  return groups;
}

// What came of a plan, or of the judges so far.
struct Outcome {
  Judgements judgements;
  int64_t unanswered_count = 0;
  std::vector<std::string> silent_judges = {};  // of those
};

// One judge's passes over all answers.
absl::Status RunJudge(const JudgePlan& plan, Passes passes, CallRunner& calls,
                      Outcome& outcome) {
  std::deque<JudgeTask> tasks;
  std::vector<ChatTask*> pointers;
  for (const PlannedPass& pass : passes) {
    for (size_t answer = 0; answer < plan.answers.size(); ++answer) {
      pointers.push_back(&tasks.emplace_back(plan, pass, answer));
    }
  }
  RETURN_IF_ERROR(calls.Run(pointers, [] { return absl::OkStatus(); }));
  const int64_t before = outcome.unanswered_count;
  for (const JudgeTask& task : tasks) {
    outcome.judgements.rows.push_back(task.judgement());
    outcome.unanswered_count += task.is_unanswered() ? 1 : 0;
  }
  if (outcome.unanswered_count > before) {
    outcome.silent_judges.push_back(passes.front().judge);
  }
  return absl::OkStatus();
}

Json JudgeJson(Passes passes, Json calls) {
  const v1::HostedModel& model = passes.front().model;
  return {{"name", passes.front().judge},
          {"model", model.model()},
          {"pass_count", passes.size()},
          {"temperature", model.temperature()},
          {"top_p", model.has_top_p() ? Json(model.top_p()) : Json()},
          {"max_tokens", model.max_tokens()},
          {"calls", std::move(calls)}};
}

Json Manifest(const v1::JudgeSpec& spec, const JudgePlan& plan,
              const Json& judges) {
  Json files = Json::array();
  for (const PlannedFile& file : plan.files) {
    files.push_back({{"name", file.name}, {"sha256", file.sha256}});
  }
  return {{"kind", "judge"},
          {"mode", JudgeModeName(plan.names_world)},
          {"job", spec.job().empty() ? Json() : Json(spec.job())},
          {"data", std::move(files)},
          {"answer_count", plan.answers.size()},
          {"judges", judges},
          {"retries", plan.retries},
          {"prompt", plan.prompt.digest()},
          {"universe",
           spec.universe().empty() ? Json() : Json(Sha256Of(spec.universe()))}};
}

absl::Status AddAll(const v1::JudgeSpec& spec, const JudgePlan& plan,
                    const Judgements& judgements, const Json& judges,
                    JobContext& job) {
  std::vector<Json> rows;
  for (const Judgement& judgement : judgements.rows) {
    rows.push_back(JudgementRow(judgement, judgements.names_world));
  }
  const JudgeSummary summary = SummarizeJudgements(judgements);
  const JobFile files[] = {{"judgements.jsonl", LinesFile(rows)},
                           {"judge_summary.json", JudgeSummaryFile(summary)},
                           {"judge_report.txt", JudgeReport(summary)}};
  return AddFiles(job, files, Manifest(spec, plan, judges));
}

// An outage must not become holes in a job that succeeded. What got no reply
// was not recorded, so that it alone is asked when the job is retried.
absl::Status CheckAllAreAnswered(const Outcome& outcome,
                                 const JobContext& job) {
  if (outcome.unanswered_count == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      outcome.unanswered_count, " of ", outcome.judgements.rows.size(),
      " judgements got no reply from ",
      absl::StrJoin(outcome.silent_judges, " and "),
      "; `dissonance jobs retry ", absl::StripPrefix(job.job().name(), "jobs/"),
      "` asks for those alone"));
}

absl::Status CheckAnyIsJudged(const Judgements& judgements) {
  if (absl::c_any_of(judgements.rows, [](const Judgement& row) {
        return row.verdict.has_value();
      })) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "none of ", judgements.rows.size(),
      " judgements could be had, the first: ", judgements.rows.front().error,
      "; judgements.jsonl has the replies; try another judge"));
}

}  // namespace

absl::Status Judge::Validate(const v1::JobSpec& spec) {
  RETURN_IF_ERROR(CheckKind(spec));
  ASSIGN_OR_RETURN(const JudgePlan plan, MakeJudgePlan(spec.judge(), jobs_));
  for (const PlannedPass& pass : plan.passes) {
    RETURN_IF_ERROR(endpoints_.Find(pass.model.endpoint()).status());
  }
  return absl::OkStatus();
}

absl::Status Judge::Run(const v1::JobSpec& spec, JobContext& job) {
  RETURN_IF_ERROR(CheckKind(spec));
  ASSIGN_OR_RETURN(const JudgePlan plan, MakeJudgePlan(spec.judge(), jobs_));
  Outcome outcome{.judgements = {.names_world = plan.names_world}};
  Json judges = Json::array();
  for (const Passes& passes : ByJudge(plan)) {
    ASSIGN_OR_RETURN(ChatClient * client,
                     endpoints_.Find(passes.front().model.endpoint()));
    ASSIGN_OR_RETURN(CallRunner calls, CallRunner::Create(*client, job));
    calls.set_total(plan.size());
    RETURN_IF_ERROR(RunJudge(plan, passes, calls, outcome));
    judges.push_back(
        JudgeJson(passes, CallsJson(calls.totals(), client->endpoint())));
  }
  RETURN_IF_ERROR(AddAll(spec.judge(), plan, outcome.judgements, judges, job));
  RETURN_IF_ERROR(CheckAllAreAnswered(outcome, job));
  return CheckAnyIsJudged(outcome.judgements);
}

}  // namespace dissonance
