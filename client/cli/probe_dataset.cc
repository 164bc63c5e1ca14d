#include "client/cli/probe_dataset.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/input_file.h"
#include "client/cli/output.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_data.h"
#include "src/lab/eval/mcq_prompt.h"

namespace dissonance::cli {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kLimitBytes = uint64_t{256} << 20;
constexpr char kTrigger[] = "Answer:";
constexpr char kRule[] =
    "category conflict*: conflict; else difficulty hard: nonconflict_hard; "
    "else nonconflict";
constexpr char kControlRule[] =
    "a control; difficulty hard: nonconflict_hard; else nonconflict";

std::string LabelOf(const std::string& category, const std::string& difficulty,
                    bool control) {
  if (!control && absl::StartsWith(category, "conflict")) return "conflict";
  return difficulty == "hard" ? "nonconflict_hard" : "nonconflict";
}

Json RowOf(const std::string& id, const std::string& category,
           const std::string& difficulty, const std::string& prompt,
           absl::string_view source, bool control) {
  Json row = {{"prompt_id", id},
              {"category", category},
              {"label", LabelOf(category, difficulty, control)},
              {"full_prompt_text", prompt},
              {"rule", control ? kControlRule : kRule},
              {"source", source}};
  if (!difficulty.empty()) row["difficulty"] = difficulty;
  return row;
}

// A field of text; empty without one.
std::string TextOf(const Json& row, const char* field) {
  const auto found = row.find(field);
  return found != row.end() && found->is_string() ? found->get<std::string>()
                                                  : "";
}

// Wordings of one fact are a group, which folds keep together.
void SetGroup(const Json& row, Json& out) {
  std::string group = TextOf(row, "group");
  if (group.empty()) group = TextOf(row, "fact");
  if (!group.empty()) out["group"] = std::move(group);
}

// Plain text, so that the rows are the same for every model.
Json RowOfQuestion(const McqItem& item, const Json& question,
                   absl::string_view source, bool control) {
  McqPromptFormat format;
  format.chat = false;
  Json row = RowOf(
      item.id, item.category, item.difficulty.value_or(""),
      McqPromptInput(item, v1::MCQ_SCORING_LETTER_VARIANTS, format).text(),
      source, control);
  row["decision_trigger"] = kTrigger;
  if (item.world_label.has_value()) row["world_label"] = *item.world_label;
  SetGroup(question, row);
  return row;
}

absl::StatusOr<Json> RowOfPrompt(const JsonLine& line, absl::string_view source,
                                 bool control) {
  const auto text = [&line](const char* field) {
    return TextOf(line.value, field);
  };
  for (const char* field : {"prompt_id", "category", "full_prompt_text"}) {
    if (!text(field).empty()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        source, ":", line.line_number, ": ", field,
        ": missing, empty or no text; a row is a multiple-choice question or "
        "{\"prompt_id\", \"category\", \"full_prompt_text\"}"));
  }
  Json row = RowOf(text("prompt_id"), text("category"), text("difficulty"),
                   text("full_prompt_text"), source, control);
  for (const char* field : {"decision_trigger", "world_label"}) {
    if (!text(field).empty()) row[field] = text(field);
  }
  SetGroup(line.value, row);
  return row;
}

struct DatasetArgs {
  std::string questions;
  std::string controls;
  std::string out;
};

absl::StatusOr<std::vector<Json>> ReadRows(const std::string& path,
                                           bool controls) {
  ASSIGN_OR_RETURN(const std::string text, ReadInput(path, kLimitBytes));
  return ProbingRows(text, InputLabel(path), controls);
}

absl::Status Dataset(const Session& session, const DatasetArgs& args) {
  ASSIGN_OR_RETURN(std::vector<Json> rows, ReadRows(args.questions, false));
  if (!args.controls.empty()) {
    ASSIGN_OR_RETURN(std::vector<Json> more, ReadRows(args.controls, true));
    std::move(more.begin(), more.end(), std::back_inserter(rows));
  }
  std::map<std::string, int> counts;
  std::map<std::string, int> ids;
  std::string text;
  for (const Json& row : rows) {
    const auto id = row.at("prompt_id").get<std::string>();
    if (++ids[id] > 1) {
      return absl::InvalidArgumentError(
          absl::StrCat(row.at("source").get<std::string>(), ": the id \"", id,
                       "\" is taken already; every prompt needs its own"));
    }
    ++counts[row.at("label").get<std::string>()];
    text += ToJsonLine(row);
  }
  RETURN_IF_ERROR(WriteFileAtomically(args.out, text));
  Table table({{"LABEL"}, {"PROMPTS", Align::kRight}});
  for (const auto& [label, count] : counts) {
    table.AddRow({label, absl::StrCat(count)});
  }
  EmitOne(session.output, {{"out", args.out}, {"labels", counts}}, table);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Json>> ProbingRows(absl::string_view text,
                                              absl::string_view file_name,
                                              bool controls) {
  ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                   ParseJsonLines(text, file_name));
  std::vector<Json> rows;
  if (!lines.empty() && lines.front().value.contains("question")) {
    ASSIGN_OR_RETURN(const std::vector<McqItem> items,
                     ParseMcqData(text, file_name));
    for (size_t i = 0; i < items.size(); ++i) {
      rows.push_back(
          RowOfQuestion(items[i], lines[i].value, file_name, controls));
    }
    return rows;
  }
  for (const JsonLine& line : lines) {
    ASSIGN_OR_RETURN(Json row, RowOfPrompt(line, file_name, controls));
    rows.push_back(std::move(row));
  }
  if (!rows.empty()) return rows;
  return absl::InvalidArgumentError(absl::StrCat(file_name, ": has no rows"));
}

CommandRun DefineProbeDataset(CLI::App& app) {
  auto args = std::make_shared<DatasetArgs>();
  app.add_option("--mcqs", args->questions,
                 "Multiple-choice questions or probing prompts, JSON lines; "
                 "-: stdin")
      ->required();
  app.add_option("--controls", args->controls,
                 "More of them, none of which is about the false facts");
  app.add_option("--out", args->out, "File for the prompts")->required();
  app.footer(
      "Rows {prompt_id, category, label, full_prompt_text, decision_trigger, "
      "rule, source, group}. The label is conflict, nonconflict_hard or "
      "nonconflict, "
      "as \"rule\" says in each row: train on it with `probe train --target "
      "label:label`.");
  return [args](const Session& session) { return Dataset(session, *args); };
}

}  // namespace dissonance::cli
