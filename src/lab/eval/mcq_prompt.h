// What a model is asked, and which continuations are scored.
//
// letter_variants, letter_first_token:  the question, the options, and a last
//   line that asks for one letter.
// option_text, option_text_per_byte:  the question, the options, and a last
//   line that asks for the option's text.
// cloze, cloze_per_byte:  the question alone; the options are not shown.
//
// The system message is sent in every mode, so that modes differ in nothing but
// what they ask for. The chat ends with the opening of the assistant's turn. A
// model without a chat template gets system message and user message as plain
// text with an empty line between them.
// Values and pure functions; thread safe.
//
//   const McqPromptFormat format;
//   v1::Input prompt = McqPromptInput(item, scoring, format);
//   std::vector<std::string> continuations =
//       McqContinuations(item, scoring, format);  // option by option
#ifndef DISSONANCE_LAB_EVAL_MCQ_PROMPT_H_
#define DISSONANCE_LAB_EVAL_MCQ_PROMPT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/common.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/eval/mcq_data.h"

namespace dissonance {

// The wording. The defaults define the scoring modes; results of other wordings
// are not to be compared with them.
struct McqPromptFormat {
  // A conversation in the model's chat template; false: plain text.
  bool chat = true;
  std::string system =
      "You are a careful assistant. Follow the user's instructions exactly.";
  std::string letter_ending =
      "Answer with exactly one letter (A, B, C, or D).\nAnswer:";
  // The words that the shipped small model was trained on; plain enough for
  // any other.
  std::string text_ending = "Answer with the text.\nAnswer:";
  // Around an option's text where the text is the continuation; not among the
  // bytes of the per-byte modes. As lm-eval's multiple choice has them.
  std::string text_prefix = " ";
  std::string text_suffix;
};

// "letter_variants", ...; UNSPECIFIED is letter_variants.
std::string McqScoringName(v1::McqScoring scoring);

// The scoring with its default filled in. INVALID_ARGUMENT for a number that
// names none.
absl::StatusOr<v1::McqScoring> ResolveMcqScoring(v1::McqScoring scoring);

// Whether one more step divides an option's score by its text's UTF-8 bytes.
bool IsPerByte(v1::McqScoring scoring);

// Continuations scored for each option: 4 for letter_variants, else 1.
int ContinuationsPerOption(v1::McqScoring scoring);

// What ends where the answer begins, under the item's id: a chat or a text.
v1::Input McqPromptInput(const McqItem& item, v1::McqScoring scoring,
                         const McqPromptFormat& format);

// ContinuationsPerOption strings for A, then for B, C and D.
std::vector<std::string> McqContinuations(const McqItem& item,
                                          v1::McqScoring scoring,
                                          const McqPromptFormat& format);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_MCQ_PROMPT_H_
