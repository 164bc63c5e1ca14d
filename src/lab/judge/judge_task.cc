#include "src/lab/judge/judge_task.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/status_macros.h"
#include "src/lab/llm/json_reply.h"

namespace dissonance {
namespace {

absl::StatusOr<Verdict> VerdictOf(const ChatReply& reply, bool names_world) {
  ASSIGN_OR_RETURN(const std::vector<nlohmann::json> objects,
                   JsonObjectsIn(reply.content));
  std::optional<Verdict> found;
  for (const nlohmann::json& object : objects) {
    absl::StatusOr<Verdict> verdict = VerdictIn(object, names_world);
    if (!verdict.ok()) continue;
    if (found.has_value() && *found != *verdict) {
      return absl::InvalidArgumentError(
          "the reply holds several verdicts that differ");
    }
    found = *std::move(verdict);
  }
  if (found.has_value()) return *std::move(found);
  return VerdictIn(objects.front(), names_world);  // what is wrong with it
}

}  // namespace

JudgeTask::JudgeTask(const JudgePlan& plan, const PlannedPass& pass,
                     size_t answer)
    : plan_(plan), pass_(pass), answer_(answer) {
  judgement_.label = plan.answers.at(answer).label;
  judgement_.judge = pass.judge;
  judgement_.pass = pass.pass;
}

std::optional<ChatRequest> JudgeTask::Next() {
  if (is_done_) return std::nullopt;
  return plan_.Ask(pass_, answer_, judgement_.tries);
}

void JudgeTask::Take(absl::StatusOr<ChatReply> reply) {
  ++judgement_.tries;
  if (!reply.ok()) {
    judgement_.error = absl::StrCat("no reply: ", reply.status().message());
    is_unanswered_ = !absl::IsInvalidArgument(reply.status());
    is_done_ = true;
    return;
  }
  judgement_.raw_texts.push_back(reply->content);
  judgement_.answered_by = reply->model;
  absl::StatusOr<Verdict> verdict = VerdictOf(*reply, plan_.names_world);
  if (verdict.ok()) {
    judgement_.verdict = *std::move(verdict);
    judgement_.error.clear();
    is_done_ = true;
    return;
  }
  judgement_.error =
      absl::StrCat(verdict.status().message(),
                   reply->finish_reason == "length"
                       ? "; the reply was cut off at the judge's max_tokens"
                       : "");
  is_done_ = judgement_.tries > plan_.retries;
}

}  // namespace dissonance
