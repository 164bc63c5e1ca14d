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
  // An endpoint that gave no reply after all its tries is not asked again.
  void Take(absl::StatusOr<ChatReply> reply) override;

  // Once it is done.
  const Judgement& judgement() const { return judgement_; }

 private:
  const JudgePlan& plan_;
  const PlannedPass& pass_;
  const size_t answer_;
  bool is_done_ = false;
  Judgement judgement_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JUDGE_JUDGE_TASK_H_
