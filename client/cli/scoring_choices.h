// The words for answer formats of multiple-choice questions. Thread safe.
#ifndef DISSONANCE_CLIENT_CLI_SCORING_CHOICES_H_
#define DISSONANCE_CLIENT_CLI_SCORING_CHOICES_H_

#include "client/cli/choice.h"
#include "dissonance/v1/training.pb.h"

namespace dissonance::cli {

// For the help of options that take them.
inline constexpr char kScoringsHelp[] =
    "letters (default), letter_first_token, option_text, option_text_per_byte, "
    "cloze, cloze_per_byte";

inline Choices<v1::McqScoring> ScoringChoices() {
  return {{"letters", v1::MCQ_SCORING_LETTER_VARIANTS},
          {"letter_first_token", v1::MCQ_SCORING_LETTER_FIRST_TOKEN},
          {"option_text", v1::MCQ_SCORING_OPTION_TEXT},
          {"option_text_per_byte", v1::MCQ_SCORING_OPTION_TEXT_PER_BYTE},
          {"cloze", v1::MCQ_SCORING_CLOZE},
          {"cloze_per_byte", v1::MCQ_SCORING_CLOZE_PER_BYTE},
          // As the files call the first one.
          {"letter_variants", v1::MCQ_SCORING_LETTER_VARIANTS}};
}

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_SCORING_CHOICES_H_
