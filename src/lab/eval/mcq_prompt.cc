#include "src/lab/eval/mcq_prompt.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

bool IsCloze(v1::McqScoring scoring) {
  return scoring == v1::MCQ_SCORING_CLOZE ||
         scoring == v1::MCQ_SCORING_CLOZE_PER_BYTE;
}

bool IsLetter(v1::McqScoring scoring) {
  return scoring == v1::MCQ_SCORING_UNSPECIFIED ||
         scoring == v1::MCQ_SCORING_LETTER_VARIANTS ||
         scoring == v1::MCQ_SCORING_LETTER_FIRST_TOKEN;
}

std::string UserMessage(const McqItem& item, v1::McqScoring scoring,
                        const McqPromptFormat& format) {
  if (IsCloze(scoring)) return item.question;
  std::string text = absl::StrCat(item.question, "\n\n");
  for (int option = 0; option < kMcqOptionCount; ++option) {
    absl::StrAppend(&text, McqLetter(option), ") ", item.options[option], "\n");
  }
  return absl::StrCat(
      text, "\n",
      IsLetter(scoring) ? format.letter_ending : format.text_ending);
}

}  // namespace

std::string McqScoringName(v1::McqScoring scoring) {
  switch (scoring) {
    case v1::MCQ_SCORING_LETTER_FIRST_TOKEN:
      return "letter_first_token";
    case v1::MCQ_SCORING_OPTION_TEXT:
      return "option_text";
    case v1::MCQ_SCORING_OPTION_TEXT_PER_BYTE:
      return "option_text_per_byte";
    case v1::MCQ_SCORING_CLOZE:
      return "cloze";
    case v1::MCQ_SCORING_CLOZE_PER_BYTE:
      return "cloze_per_byte";
    default:
      return "letter_variants";
  }
}

absl::StatusOr<v1::McqScoring> ResolveMcqScoring(v1::McqScoring scoring) {
  if (scoring == v1::MCQ_SCORING_UNSPECIFIED) {
    return v1::MCQ_SCORING_LETTER_VARIANTS;
  }
  if (!v1::McqScoring_IsValid(scoring)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "evaluate_mcq.scoring: this server knows no scoring ",
        static_cast<int>(scoring), "; see enum McqScoring for those it has"));
  }
  return scoring;
}

bool IsPerByte(v1::McqScoring scoring) {
  return scoring == v1::MCQ_SCORING_OPTION_TEXT_PER_BYTE ||
         scoring == v1::MCQ_SCORING_CLOZE_PER_BYTE;
}

int ContinuationsPerOption(v1::McqScoring scoring) {
  return scoring == v1::MCQ_SCORING_LETTER_VARIANTS ||
                 scoring == v1::MCQ_SCORING_UNSPECIFIED
             ? 4
             : 1;
}

v1::Input McqPromptInput(const McqItem& item, v1::McqScoring scoring,
                         const McqPromptFormat& format) {
  v1::Input input;
  input.set_id(item.id);
  if (!format.chat) {
    input.set_text(absl::StrCat(format.system, "\n\n",
                                UserMessage(item, scoring, format)));
    return input;
  }
  v1::Chat& chat = *input.mutable_chat();
  v1::ChatMessage* system = chat.add_messages();
  system->set_role("system");
  system->set_content(format.system);
  v1::ChatMessage* user = chat.add_messages();
  user->set_role("user");
  user->set_content(UserMessage(item, scoring, format));
  chat.set_add_generation_prompt(true);
  return input;
}

std::vector<std::string> McqContinuations(const McqItem& item,
                                          v1::McqScoring scoring,
                                          const McqPromptFormat& format) {
  std::vector<std::string> continuations;
  for (int option = 0; option < kMcqOptionCount; ++option) {
    const std::string letter = McqLetter(option);
    if (!IsLetter(scoring)) {
      continuations.push_back(absl::StrCat(
          format.text_prefix, item.options[option], format.text_suffix));
    } else if (scoring == v1::MCQ_SCORING_LETTER_FIRST_TOKEN) {
      continuations.push_back(absl::StrCat(" ", letter));
    } else {
      for (const char* before : {"", " ", "\n", "\n "}) {
        continuations.push_back(absl::StrCat(before, letter));
      }
    }
  }
  return continuations;
}

}  // namespace dissonance
