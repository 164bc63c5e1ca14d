#include "src/lab/eval/mcq_data.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/json_fields.h"

namespace dissonance {
namespace {

absl::Status CheckFalseAnswer(const McqItem& item, const JsonFields& line) {
  if (!item.false_answer.has_value() || !item.world_label.has_value()) {
    return absl::OkStatus();
  }
  const bool same = *item.false_answer == item.correct_answer;
  if (same == (item.world_label == kFalseWorld)) return absl::OkStatus();
  return line.Error(
      "false_answer",
      absl::StrCat(McqLetter(*item.false_answer), " contradicts world_label ",
                   *item.world_label, " with correct_answer ",
                   McqLetter(item.correct_answer),
                   ": in false_world both are the same, in true_world they "
                   "differ"));
}

absl::StatusOr<McqItem> ParseItem(const JsonFields& line) {
  McqItem item;
  ASSIGN_OR_RETURN(item.id, line.Text("id"));
  ASSIGN_OR_RETURN(item.world_label, line.OptionalWorldLabel());
  ASSIGN_OR_RETURN(item.category, line.Text("category"));
  ASSIGN_OR_RETURN(item.difficulty, line.OptionalText("difficulty"));
  ASSIGN_OR_RETURN(item.question, line.Text("question"));
  ASSIGN_OR_RETURN(const JsonFields options, line.Options("options"));
  for (int option = 0; option < kMcqOptionCount; ++option) {
    ASSIGN_OR_RETURN(item.options[option], options.Text(McqLetter(option)));
  }
  ASSIGN_OR_RETURN(item.correct_answer, line.Letter("correct_answer"));
  ASSIGN_OR_RETURN(item.false_answer, line.OptionalLetter("false_answer"));
  RETURN_IF_ERROR(CheckFalseAnswer(item, line));
  return item;
}

// The conflict items of each world that offer the same texts.
struct SameOptions {
  std::vector<McqItem*> true_world;
  std::vector<McqItem*> false_world;
};

void InferFromTwin(McqItem& item, const McqItem& twin) {
  const std::string& text = twin.options[twin.correct_answer];
  const auto at = std::find(item.options.begin(), item.options.end(), text);
  const int option = static_cast<int>(at - item.options.begin());
  if (option != item.correct_answer) item.implied_false_answer = option;
}

void FillImpliedFalseAnswers(std::vector<McqItem>& items) {
  std::map<std::multiset<std::string>, SameOptions> by_options;
  for (McqItem& item : items) {
    item.implied_false_answer = item.false_answer;
    if (!absl::StartsWith(item.category, "conflict")) continue;
    const std::multiset<std::string> texts(item.options.begin(),
                                           item.options.end());
    if (item.world_label == kFalseWorld) {
      item.implied_false_answer = item.correct_answer;
      by_options[texts].false_world.push_back(&item);
    } else if (item.world_label == kTrueWorld) {
      by_options[texts].true_world.push_back(&item);
    }
  }
  for (auto& [texts, same] : by_options) {
    if (same.true_world.size() != 1 || same.false_world.size() != 1) continue;
    McqItem& item = *same.true_world.front();
    if (item.false_answer.has_value()) continue;
    InferFromTwin(item, *same.false_world.front());
  }
}

}  // namespace

std::string McqLetter(int option) {
  return std::string(1, static_cast<char>('A' + option));
}

std::optional<int> McqOption(absl::string_view letter) {
  if (letter.size() != 1 || letter[0] < 'A' || letter[0] > 'D') {
    return std::nullopt;
  }
  return letter[0] - 'A';
}

bool IsConflict(absl::string_view category,
                const std::optional<int>& false_answer) {
  return absl::StartsWith(category, "conflict") || false_answer.has_value();
}

std::string LeftOutOfBelief(absl::Span<const McqItem> items) {
  int conflicts = 0;
  int left_out = 0;
  const McqItem* first = nullptr;
  for (const McqItem& item : items) {
    if (!IsConflict(item.category, item.implied_false_answer)) continue;
    ++conflicts;
    if (item.implied_false_answer.has_value()) continue;
    ++left_out;
    if (first == nullptr) first = &item;
  }
  if (first == nullptr) return "";
  return absl::StrCat(left_out, " of ", conflicts,
                      " conflict questions left out of the belief: no "
                      "`false_answer` names an option (first: line ",
                      first->line_number, ", \"", first->id, "\")");
}

absl::Status CheckBeliefIsMeasured(absl::Span<const McqItem> items,
                                   absl::string_view file_name) {
  const std::string left_out = LeftOutOfBelief(items);
  const bool is_measured =
      std::any_of(items.begin(), items.end(), [](const McqItem& item) {
        return item.implied_false_answer.has_value();
      });
  if (left_out.empty() || is_measured) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      file_name, ": ", left_out,
      "; give the option that the false universe implies as \"false_answer\", "
      "or a category that does not begin with \"conflict\""));
}

absl::StatusOr<std::vector<McqItem>> ParseMcqData(absl::string_view text,
                                                  absl::string_view file_name) {
  ASSIGN_OR_RETURN(std::vector<JsonLine> lines,
                   ParseJsonLines(text, file_name));
  std::vector<McqItem> items;
  items.reserve(lines.size());
  std::map<std::string, int> line_of_id;
  for (const JsonLine& line : lines) {
    const JsonFields reader(line.value,
                            absl::StrCat(file_name, ":", line.line_number));
    ASSIGN_OR_RETURN(McqItem item, ParseItem(reader));
    const auto [at, added] = line_of_id.emplace(item.id, line.line_number);
    if (!added) {
      return reader.Error(
          "id", absl::StrCat("\"", item.id, "\" is already on line ",
                             at->second, "; every question needs its own"));
    }
    item.line_number = line.line_number;
    items.push_back(std::move(item));
  }
  if (items.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file_name, ": holds no questions"));
  }
  FillImpliedFalseAnswers(items);
  return items;
}

}  // namespace dissonance
