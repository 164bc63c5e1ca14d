// Has variants of a network answer questions through the worker: the part of
// the job that has no records. For one thread; borrows all that it is made
// with.
//
//   OpenAsker asker(compute, plan, call);
//   RETURN_IF_ERROR(asker.ReadModel().status());
//   RETURN_IF_ERROR(asker.CheckLengths(0));
//   ASSIGN_OR_RETURN(OpenReplies replies, asker.Ask(0));
#ifndef DISSONANCE_LAB_ANSWERS_OPEN_ASKER_H_
#define DISSONANCE_LAB_ANSWERS_OPEN_ASKER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/lab/answers/open_plan.h"
#include "src/lab/answers/open_prompt.h"
#include "src/lab/answers/open_record.h"
#include "src/lab/interp/interp_client.h"

namespace dissonance {

// What the variants answered.
struct OpenReplies {
  std::vector<OpenRecord> records;  // in the questions' order
  // One per variant, of each call.
  std::vector<std::vector<v1::Provenance>> provenance;
};

class OpenAsker {
 public:
  OpenAsker(InterpClient& compute, const OpenPlan& plan,
            const CallOptions& call)
      : compute_(compute), plan_(plan), call_(call) {}

  // Reads how many positions the model has, and chooses the format: plain text
  // where it has no chat template. Gives the model's name then, else an empty
  // string.
  absl::StatusOr<std::string> ReadModel();
  const OpenPromptFormat& format() const { return format_; }

  // That the questions from `first` on and their answers fit the model's
  // positions, so that one too long for them is found before others are
  // computed, not after. INVALID_ARGUMENT with the question's id. CANCELLED if
  // the call is.
  absl::Status CheckLengths(size_t first);

  // All variants' answers to the next questions from `first` on: greedy, as
  // many as fill the worker's batch, in one call; sampled, one question, whose
  // seeds no other one shares. REQUIRES: there is one.
  absl::StatusOr<OpenReplies> Ask(size_t first);

 private:
  absl::StatusOr<int64_t> PromptTokenCount(const v1::Input& input);
  v1::Input InputOf(size_t question) const;

  InterpClient& compute_;
  const OpenPlan& plan_;
  const CallOptions& call_;
  OpenPromptFormat format_;
  int64_t max_positions_ = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ANSWERS_OPEN_ASKER_H_
