// What a job of the kind judge asks: of its spec, checked and filled in.
// Values; thread safe as far as FinishedJobs is.
//
//   ASSIGN_OR_RETURN(const JudgePlan plan, MakeJudgePlan(spec, jobs));
//   ChatRequest request = plan.Ask(plan.passes[0], /*answer=*/3, /*tried=*/0);
#ifndef DISSONANCE_LAB_JUDGE_JUDGE_PLAN_H_
#define DISSONANCE_LAB_JUDGE_JUDGE_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/language_jobs.pb.h"
#include "src/lab/docgen/prompt_template.h"
#include "src/lab/jobs/finished_jobs.h"
#include "src/lab/judge/judge_rows.h"
#include "src/lab/llm/chat_messages.h"

namespace dissonance {

// One judge judging all answers once.
struct PlannedPass {
  v1::HostedModel model;
  std::string judge;   // "ENDPOINT/MODEL"
  int64_t pass = 1;    // of this judge
  int64_t number = 0;  // of the plan's passes
};

// A file of answers.
struct PlannedFile {
  std::string name;
  std::string sha256;
};

struct JudgePlan {
  std::vector<PlannedFile> files;
  std::vector<FreeAnswer> answers;
  std::vector<PlannedPass> passes;  // those of one judge together
  bool names_world = true;
  int64_t retries = 0;
  PromptTemplate prompt;
  std::string false_world;  // what the prompt says of it

  // Of judgements.
  int64_t size() const {
    return static_cast<int64_t>(passes.size() * answers.size());
  }
  // The question about an answer when `tried` replies could not be read. No
  // two of a job are taken for the same, so that each judgement is one of its
  // own even where two answers are alike.
  ChatRequest Ask(const PlannedPass& pass, size_t answer, int64_t tried) const;
};

// INVALID_ARGUMENT with the field, or with file, line and field for answers
// that can't be read; for answers of more than 256 MiB, before any is read, and
// for more than 1,000,000 judgements; what `jobs` says of a job that is named.
absl::StatusOr<JudgePlan> MakeJudgePlan(const v1::JudgeSpec& spec,
                                        FinishedJobs& jobs);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JUDGE_JUDGE_PLAN_H_
