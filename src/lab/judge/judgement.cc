#include "src/lab/judge/judgement.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

absl::Status ReadMode(const RowFields& fields, Judgements& all) {
  ASSIGN_OR_RETURN(const std::string mode, fields.FilledText("mode"));
  const bool names_world = mode == JudgeModeName(true);
  if (!names_world && mode != JudgeModeName(false)) {
    return fields.Error("mode", "expected world_and_doubt or doubt_only");
  }
  if (!all.rows.empty() && names_world != all.names_world) {
    return fields.Error("mode",
                        "rows before this one are of the other mode; take each "
                        "mode by itself");
  }
  all.names_world = names_world;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ReadRawTexts(const RowFields& fields) {
  std::vector<std::string> texts;
  const auto at = fields.row().find("raw_texts");
  if (at == fields.row().end() || at->is_null()) return texts;
  if (!at->is_array()) return fields.Error("raw_texts", "expected a list");
  for (const Json& text : *at) {
    if (!text.is_string()) {
      return fields.Error("raw_texts", "an entry is no string");
    }
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

absl::StatusOr<Judgement> ReadJudgement(const RowFields& fields,
                                        bool names_world, RowKeys& keys) {
  Judgement judgement;
  ASSIGN_OR_RETURN(judgement.label, ReadLabel(fields));
  ASSIGN_OR_RETURN(judgement.judge, fields.FilledText("judge"));
  ASSIGN_OR_RETURN(judgement.pass, fields.CountOr("pass", 1));
  ASSIGN_OR_RETURN(judgement.error, fields.TextOr("error", ""));
  ASSIGN_OR_RETURN(judgement.raw_texts, ReadRawTexts(fields));
  ASSIGN_OR_RETURN(judgement.tries, fields.CountOr("tries", 0));
  ASSIGN_OR_RETURN(judgement.answered_by, fields.TextOr("answered_by", ""));
  if (judgement.error.empty()) {
    absl::StatusOr<Verdict> verdict = VerdictIn(fields.row(), names_world);
    if (!verdict.ok()) return Annotate(verdict.status(), fields.where());
    judgement.verdict = *std::move(verdict);
  }
  const AnswerLabel& label = judgement.label;
  RETURN_IF_ERROR(keys.Add(
      fields,
      Json({label.variant, label.id, label.sample, judgement.judge,
            judgement.pass})
          .dump(),
      absl::StrCat("pass ", judgement.pass, " of ", judgement.judge,
                   " over the answer of ", label.variant, " to \"", label.id,
                   "\", sample ", label.sample, ", is there already")));
  return judgement;
}

}  // namespace

const char* JudgeModeName(bool names_world) {
  return names_world ? "world_and_doubt" : "doubt_only";
}

Json JudgementRow(const Judgement& judgement, bool names_world) {
  Json row = {{"judge", judgement.judge},
              {"pass", judgement.pass},
              {"mode", JudgeModeName(names_world)},
              {"error", nullptr},
              {"raw_texts", judgement.raw_texts},
              {"tries", judgement.tries},
              {"answered_by", nullptr}};
  AddLabel(judgement.label, row);
  AddVerdict(judgement.verdict, row);
  if (!judgement.verdict.has_value()) row["error"] = judgement.error;
  if (!judgement.answered_by.empty()) {
    row["answered_by"] = judgement.answered_by;
  }
  return row;
}

absl::StatusOr<Judgements> ReadJudgements(absl::Span<const NamedText> files) {
  Judgements all;
  RowKeys keys;
  for (const NamedText& file : files) {
    ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                     ParseJsonLines(file.contents, file.name));
    for (const JsonLine& line : lines) {
      const RowFields fields(line.value,
                             absl::StrCat(file.name, ":", line.line_number));
      RETURN_IF_ERROR(ReadMode(fields, all));
      ASSIGN_OR_RETURN(Judgement judgement,
                       ReadJudgement(fields, all.names_world, keys));
      all.rows.push_back(std::move(judgement));
    }
  }
  if (!all.rows.empty()) return all;
  return absl::InvalidArgumentError(
      absl::StrCat(files.empty() ? "" : files.front().name,
                   ": no judgements; give files judgements.jsonl"));
}

}  // namespace dissonance
