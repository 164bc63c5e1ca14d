#include "client/cli/input_rows.h"

#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

using Json = nlohmann::json;

absl::StatusOr<v1::Continuation> ParseContinuation(const Json& value,
                                                   bool text_allowed,
                                                   const std::string& place) {
  v1::Continuation continuation;
  if (value.is_string()) {
    if (!text_allowed) {
      return absl::InvalidArgumentError(
          absl::StrCat(place,
                       ": text cannot follow a prompt of token ids; give the "
                       "continuation as {\"tokens\": [ids]}"));
    }
    continuation.set_text(value.get<std::string>());
    return continuation;
  }
  if (value.is_object() && value.contains("tokens")) {
    ASSIGN_OR_RETURN(
        *continuation.mutable_tokens(),
        ParseTokenIds(value["tokens"], absl::StrCat(place, ".tokens")));
    return continuation;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      place, ": expected text or {\"tokens\": [ids]}, found ", value.dump()));
}

absl::StatusOr<ScoreRow> ParseScoreRow(const JsonLine& line,
                                       const std::string& where) {
  ASSIGN_OR_RETURN(InputRow prompt, ParseInputRow(line, where));
  ScoreRow row;
  row.id = std::move(prompt.id);
  *row.item.mutable_prompt() = std::move(prompt.input);
  const auto list = line.value.find("continuations");
  if (list == line.value.end() || !list->is_array() || list->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": continuations: ",
        list == line.value.end() ? "missing" : "not a list of one or more",
        "; give a list of texts or {\"tokens\": [ids]}"));
  }
  for (size_t i = 0; i < list->size(); ++i) {
    ASSIGN_OR_RETURN(
        *row.item.add_continuations(),
        ParseContinuation((*list)[i], !row.item.prompt().has_tokens(),
                          absl::StrCat(where, ": continuations[", i, "]")));
  }
  return row;
}

}  // namespace

absl::StatusOr<std::vector<ScoreRow>> ParseScoreRows(
    const std::string& text, const std::string& file_name) {
  ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                   ParseJsonLines(text, file_name));
  if (lines.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file_name,
        ": has no rows; a row is {\"id\", \"prompt\", \"continuations\"}"));
  }
  std::vector<ScoreRow> rows;
  for (const JsonLine& line : lines) {
    ASSIGN_OR_RETURN(
        ScoreRow row,
        ParseScoreRow(line, absl::StrCat(file_name, ":", line.line_number)));
    rows.push_back(std::move(row));
  }
  return rows;
}

nlohmann::json ScoreRowJson(const ScoreRow& row, const v1::ItemScore& score) {
  Json continuations = Json::array();
  for (int i = 0; i < score.continuations_size(); ++i) {
    const v1::ContinuationScore& each = score.continuations(i);
    const v1::Continuation& asked = row.item.continuations(i);
    Json out = {{"text", nullptr},
                {"bytes", nullptr},
                {"tokens", each.token_ids()},
                {"logprob", each.logprob()},
                {"token_logprobs", each.token_logprobs()}};
    if (asked.content_case() == v1::Continuation::kText) {
      out["text"] = asked.text();
      out["bytes"] = asked.text().size();
    }
    if (!std::isfinite(each.logprob())) {
      out["logprob"] = nullptr;
      out["reason"] = absl::StrCat("logprob is ", each.logprob());
    }
    continuations.push_back(std::move(out));
  }
  return {{"id", row.id},
          {"continuations", std::move(continuations)},
          {"prompt_tokens", score.prompt_token_count()}};
}

}  // namespace dissonance::cli
