// The prompts of a job inside the network, from the JSON lines of its `data`.
// What kind of rows a file has is seen from the first one's fields:
//
//   input rows         {id, prompt | chat | tokens, labels?, group?}
//   probing prompts    {prompt_id, category, full_prompt_text,
//                      decision_trigger?}; with `tokens`, as an evaluation's
//                      eval_prompts.jsonl has them, those are what is read
//   questions          as src/lab/eval/mcq_data.h has them, asked as an
//                      evaluation asks them
//
// Every further field that is text, a number or true or false becomes a label,
// e.g. category, world_label and difficulty; `group`, or without one `fact`,
// keeps paraphrases together. Values; functions are thread safe as far as the
// compute client is.
//
//   ASSIGN_OR_RETURN(PromptSet set, ParsePrompts(spec.data(), "rows.jsonl"));
//   ASSIGN_OR_RETURN(RenderedPrompts prompts,
//                    RenderPrompts(set, variants, scoring, compute, call));
//   *request.mutable_inputs() = {prompts.inputs.begin(), ...};
#ifndef DISSONANCE_LAB_INTERP_PROMPT_SET_H_
#define DISSONANCE_LAB_INTERP_PROMPT_SET_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "dissonance/v1/common.pb.h"
#include "dissonance/v1/interpretability.pb.h"
#include "dissonance/v1/training.pb.h"
#include "src/lab/eval/compute_client.h"
#include "src/lab/eval/mcq_data.h"
#include "src/lab/eval/mcq_prompt.h"

namespace dissonance {

enum class PromptKind { kInputs, kProbing, kQuestions };

// Prompts before a model has seen them, in the file's order.
struct PromptSet {
  PromptKind kind = PromptKind::kInputs;
  // Ids differ. Of questions without content, which depends on how they are
  // asked.
  std::vector<v1::Input> inputs;
  // Of questions only: one per input.
  std::vector<McqItem> questions;
  // Where each input stands, for messages: "rows.jsonl:7".
  std::vector<std::string> places;
};

// INVALID_ARGUMENT with file, line and field for rows that are not as above, a
// repeated id, a probing prompt that does not end with its decision_trigger
// (its last token would not be where the answer is decided), and a file without
// rows.
absl::StatusOr<PromptSet> ParsePrompts(absl::string_view text,
                                       absl::string_view file_name);

// How rows stand together: those of one group never straddle folds.
struct PromptGroups {
  int row_count = 0;
  int group_count = 0;
  // "456 rows in 161 groups"; that paraphrases may straddle folds where rows
  // have no group.
  std::string text;
};

PromptGroups GroupsOf(const PromptSet& set);

// The option that is right in the true world; nullopt for a question that says
// only what the false world holds.
std::optional<int> TrueAnswer(const McqItem& question);

// Prompts as a worker takes them.
struct RenderedPrompts {
  std::vector<v1::Input> inputs;
  // Of questions whose true and false answers are known: "true" and "false",
  // the first token of each as it would follow the prompt. That is the letter
  // (of a chat) or " " and the letter (of plain text and letter_first_token)
  // where letters are scored, else the option's text. Empty where there is none
  // such, or where both begin with the same token.
  std::vector<std::vector<v1::Candidate>> candidates;  // [input]
  // How questions were asked.
  McqPromptFormat format;
};

// Questions become token ids, those that the first variant's model reads; other
// prompts stay as they are, and nothing is asked of the worker. `scoring` is a
// resolved one. Annotates what is wrong with the question's id.
absl::StatusOr<RenderedPrompts> RenderPrompts(
    const PromptSet& set, absl::Span<const v1::Variant> variants,
    v1::McqScoring scoring, ComputeClient& compute, const CallOptions& call);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_PROMPT_SET_H_
