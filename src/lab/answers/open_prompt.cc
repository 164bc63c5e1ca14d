#include "src/lab/answers/open_prompt.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dissonance {

std::string OpenModeName(v1::OpenMode mode) {
  return mode == v1::OPEN_MODE_DOUBT_PROBE ? "doubt_probe" : "neutral";
}

absl::StatusOr<v1::OpenMode> ResolveOpenMode(v1::OpenMode mode) {
  if (mode == v1::OPEN_MODE_UNSPECIFIED) return v1::OPEN_MODE_NEUTRAL;
  if (!v1::OpenMode_IsValid(mode)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "evaluate_open.mode: this server knows no mode ",
        static_cast<int>(mode), "; see enum OpenMode for those it has"));
  }
  return mode;
}

v1::Input OpenPromptInput(const OpenQuestion& question, v1::OpenMode mode,
                          const OpenPromptFormat& format) {
  std::string user = question.question;
  if (mode == v1::OPEN_MODE_DOUBT_PROBE) {
    absl::StrAppend(&user, "\n\n", format.doubt_ending);
  }
  v1::Input input;
  input.set_id(question.id);
  if (!format.chat) {
    input.set_text(absl::StrCat(format.system, "\n\n", user));
    return input;
  }
  v1::Chat& chat = *input.mutable_chat();
  v1::ChatMessage* system = chat.add_messages();
  system->set_role("system");
  system->set_content(format.system);
  v1::ChatMessage* asked = chat.add_messages();
  asked->set_role("user");
  asked->set_content(user);
  chat.set_add_generation_prompt(true);
  return input;
}

}  // namespace dissonance
