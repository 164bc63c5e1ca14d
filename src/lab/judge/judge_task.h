// One judgement: asked for, read, and asked for again while the reply can't be
// read. What can't be read in the end is an error with all its texts. One
// thread at a time.
#ifndef DISSONANCE_LAB_JUDGE_JUDGE_TASK_H_
#define DISSONANCE_LAB_JUDGE_JUDGE_TASK_H_

#include <cstddef>
#include <optional>

#include "src/lab/judge/judge_plan.h"
#include "src/lab/judge/judgement.h"
#include "src/lab/llm/call_runner.h"

namespace dissonance {

class JudgeTask final : public ChatTask {
 public:
  // Borrows both.
  JudgeTask(const JudgePlan& plan, const PlannedPass& pass, size_t answer);

  std::optional<ChatRequest> Next() override;
  // What got no reply after all the endpoint's tries is not asked again in
  // this run.
  void Take(absl::StatusOr<ChatReply> reply) override;

  // Once it is done.
  const Judgement& judgement() const { return judgement_; }
  // Whether it ended without a reply that another run may get: a question that
  // the endpoint refused is not such a one.
  bool is_unanswered() const { return is_unanswered_; }

 private:
  const JudgePlan& plan_;
  const PlannedPass& pass_;
  const size_t answer_;
  bool is_done_ = false;
  bool is_unanswered_ = false;
  Judgement judgement_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JUDGE_JUDGE_TASK_H_
