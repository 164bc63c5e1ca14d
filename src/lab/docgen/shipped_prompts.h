// The prompts of data/prompts, compiled in.
#ifndef DISSONANCE_LAB_DOCGEN_SHIPPED_PROMPTS_H_
#define DISSONANCE_LAB_DOCGEN_SHIPPED_PROMPTS_H_

#include "absl/strings/string_view.h"

namespace dissonance {

extern const absl::string_view kKeyFactsPrompt;
extern const absl::string_view kDocumentTypesPrompt;
extern const absl::string_view kDocumentIdeasPrompt;
extern const absl::string_view kDocumentPrompt;
extern const absl::string_view kJudgeWorldAndDoubtPrompt;
extern const absl::string_view kJudgeDoubtOnlyPrompt;

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_SHIPPED_PROMPTS_H_
