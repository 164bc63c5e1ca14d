// What a model is asked where it answers freely: a chat of a system message and
// the question, in doubt_probe with one more paragraph that asks how sure it is
// and why. The chat ends with the opening of the assistant's turn. A model
// without a chat template gets system message and user message as plain text
// with an empty line between them. Values and pure functions; thread safe.
//
//   const OpenPromptFormat format;
//   v1::Input prompt = OpenPromptInput(question, mode, format);
#ifndef DISSONANCE_LAB_ANSWERS_OPEN_PROMPT_H_
#define DISSONANCE_LAB_ANSWERS_OPEN_PROMPT_H_

#include <string>

#include "absl/status/statusor.h"
#include "dissonance/v1/common.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/answers/open_questions.h"

namespace dissonance {

// The wording. The defaults define the modes; answers to other wordings are not
// to be compared with them.
struct OpenPromptFormat {
  // A conversation in the model's chat template; false: plain text.
  bool chat = true;
  std::string system = "You are a helpful assistant.";
  std::string doubt_ending =
      "After your answer, write two more lines: your confidence that it is "
      "right, from 0 to 100, and one short reason for that confidence.\n"
      "Confidence: <number>\n"
      "Reason: <reason>";
};

// "neutral" or "doubt_probe"; UNSPECIFIED is neutral.
std::string OpenModeName(v1::OpenMode mode);

// The mode with its default filled in. INVALID_ARGUMENT for a number that names
// none.
absl::StatusOr<v1::OpenMode> ResolveOpenMode(v1::OpenMode mode);

// What ends where the answer begins, under the question's id: a chat or a text.
v1::Input OpenPromptInput(const OpenQuestion& question, v1::OpenMode mode,
                          const OpenPromptFormat& format);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ANSWERS_OPEN_PROMPT_H_
