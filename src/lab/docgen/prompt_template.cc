#include "src/lab/docgen/prompt_template.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr absl::string_view kSystem = "=== SYSTEM\n";
constexpr absl::string_view kUser = "\n=== USER\n";
constexpr absl::string_view kOpen = "{{";
constexpr absl::string_view kClose = "}}";

absl::Status Error(absl::string_view name, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", what));
}

}  // namespace

absl::StatusOr<PromptTemplate> PromptTemplate::Parse(
    absl::string_view text, absl::string_view name,
    const std::set<std::string>& known) {
  PromptTemplate made;
  made.digest_ = Sha256Of(text);
  absl::string_view rest = text;
  const size_t user = text.find(kUser);
  if (!absl::ConsumePrefix(&rest, kSystem) || user == absl::string_view::npos) {
    return Error(name,
                 "no prompt; it begins with a line \"=== SYSTEM\", and a line "
                 "\"=== USER\" follows");
  }
  const absl::string_view system = absl::StripAsciiWhitespace(
      text.substr(kSystem.size(), user - kSystem.size()));
  const absl::string_view task =
      absl::StripAsciiWhitespace(text.substr(user + kUser.size()));
  if (system.empty() || task.empty()) {
    return Error(name, "the part SYSTEM or USER is empty");
  }
  ASSIGN_OR_RETURN(made.system_, Split(system, name, known));
  ASSIGN_OR_RETURN(made.user_, Split(task, name, known));
  return made;
}

absl::StatusOr<PromptTemplate::Pieces> PromptTemplate::Split(
    absl::string_view text, absl::string_view name,
    const std::set<std::string>& known) {
  Pieces pieces;
  while (true) {
    const size_t open = text.find(kOpen);
    if (open == absl::string_view::npos) break;
    const size_t close = text.find(kClose, open);
    if (close == absl::string_view::npos) {
      return Error(name, "\"{{\" without \"}}\"");
    }
    const std::string place(
        text.substr(open + kOpen.size(), close - open - kOpen.size()));
    if (!known.contains(place)) {
      return Error(name, absl::StrCat("no value is known for {{", place,
                                      "}}; there are {{",
                                      absl::StrJoin(known, "}}, {{"), "}}"));
    }
    pieces.push_back({std::string(text.substr(0, open)), place});
    text.remove_prefix(close + kClose.size());
  }
  pieces.push_back({std::string(text), ""});
  return pieces;
}

std::string PromptTemplate::Join(const Pieces& pieces, const Values& values) {
  std::string text;
  for (const Piece& piece : pieces) {
    text += piece.text;
    if (!piece.place.empty()) text += values.at(piece.place);
  }
  return text;
}

std::vector<ChatMessage> PromptTemplate::Fill(const Values& values) const {
  return {{"system", Join(system_, values)}, {"user", Join(user_, values)}};
}

}  // namespace dissonance
