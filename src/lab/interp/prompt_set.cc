#include "src/lab/interp/prompt_set.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/input_rows.h"
#include "src/lab/eval/json_fields.h"
#include "src/lab/eval/mcq_scorer.h"

namespace dissonance {
namespace {

// Fields of a row that say what is asked, and nothing about it.
constexpr absl::string_view kNoLabels[] = {
    "add_generation_prompt",
    "add_special_tokens",
    "chat",
    "full_prompt_text",
    "group",
    "id",
    "labels",
    "options",
    "prompt",
    "prompt_id",
    "question",
    "tokens",
};

PromptKind KindOf(const nlohmann::json& row) {
  if (row.contains("full_prompt_text")) return PromptKind::kProbing;
  if (row.contains("question")) return PromptKind::kQuestions;
  return PromptKind::kInputs;
}

// Labels that a row gives outright stay.
void AddLabels(const nlohmann::json& row, v1::Input& input) {
  for (const auto& [key, value] : row.items()) {
    if (value.is_null() || value.is_structured() ||
        absl::c_linear_search(kNoLabels, key)) {
      continue;
    }
    input.mutable_labels()->insert(
        {key, value.is_string() ? value.get<std::string>() : value.dump()});
  }
}

absl::Status SetGroup(const JsonFields& row, v1::Input& input) {
  ASSIGN_OR_RETURN(const std::optional<std::string> group,
                   row.OptionalText("group"));
  if (group.has_value()) input.set_group(*group);
  return absl::OkStatus();
}

absl::StatusOr<v1::Input> ParseProbingPrompt(const JsonLine& line,
                                             const std::string& where) {
  const JsonFields row(line.value, where);
  v1::Input input;
  const char* id = row.Has("prompt_id") ? "prompt_id" : "id";
  ASSIGN_OR_RETURN(*input.mutable_id(), row.Text(id));
  RETURN_IF_ERROR(row.Text("category").status());
  ASSIGN_OR_RETURN(const std::string text, row.Text("full_prompt_text"));
  ASSIGN_OR_RETURN(const std::optional<std::string> trigger,
                   row.OptionalText("decision_trigger"));
  if (trigger.has_value() &&
      !absl::EndsWith(absl::StripTrailingAsciiWhitespace(text),
                      absl::StripTrailingAsciiWhitespace(*trigger))) {
    return row.Error(
        "decision_trigger",
        absl::StrCat("full_prompt_text does not end with \"", *trigger,
                     "\": its last token is not where the answer is decided"));
  }
  if (row.Has("tokens")) {
    ASSIGN_OR_RETURN(
        *input.mutable_tokens(),
        ParseTokenIds(line.value["tokens"], absl::StrCat(where, ": tokens")));
  } else {
    input.set_text(text);
  }
  RETURN_IF_ERROR(SetGroup(row, input));
  return input;
}

// Wordings of one fact belong together as those of a group do.
void GroupByFact(v1::Input& input) {
  const auto fact = input.labels().find("fact");
  if (input.group().empty() && fact != input.labels().end()) {
    input.set_group(fact->second);
  }
}

// Of questions their ids; McqData has checked them.
absl::StatusOr<v1::Input> ParseRow(PromptKind kind, const JsonLine& line,
                                   const std::string& where) {
  if (kind == PromptKind::kInputs) {
    ASSIGN_OR_RETURN(InputRow row, ParseInputRow(line, where));
    return std::move(row.input);
  }
  if (kind == PromptKind::kProbing) return ParseProbingPrompt(line, where);
  v1::Input input;
  input.set_id(line.value["id"].get<std::string>());
  RETURN_IF_ERROR(SetGroup(JsonFields(line.value, where), input));
  return input;
}

std::string Continuation(const McqItem& question, int option,
                         v1::McqScoring scoring,
                         const McqPromptFormat& format) {
  // Of letter_variants the bare letter, and the one behind a space.
  int variant = 0;
  if (ContinuationsPerOption(scoring) > 1 && !format.chat) variant = 1;
  return McqContinuations(
      question, scoring,
      format)[option * ContinuationsPerOption(scoring) + variant];
}

// Asks one question after the other.
class Renderer {
 public:
  Renderer(ComputeClient& compute, const std::string& model,
           v1::McqScoring scoring, const CallOptions& call, McqScorer& scorer)
      : compute_(compute),
        model_(model),
        scoring_(scoring),
        call_(call),
        scorer_(scorer) {}

  absl::Status Render(const McqItem& question, v1::Input& input,
                      std::vector<v1::Candidate>& candidates) {
    if (call_.cancelled && call_.cancelled()) {
      return absl::CancelledError("cancelled");
    }
    ASSIGN_OR_RETURN(const McqPrompt prompt, scorer_.Render(question));
    input.mutable_tokens()->mutable_ids()->Assign(prompt.tokens.begin(),
                                                  prompt.tokens.end());
    const std::optional<int> true_answer = TrueAnswer(question);
    if (!true_answer.has_value() || !question.implied_false_answer) {
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const std::optional<int32_t> true_token,
                     FirstToken(question, *true_answer, prompt));
    ASSIGN_OR_RETURN(
        const std::optional<int32_t> false_token,
        FirstToken(question, *question.implied_false_answer, prompt));
    if (!true_token || !false_token || true_token == false_token) {
      return absl::OkStatus();
    }
    v1::Candidate& first = candidates.emplace_back();
    first.set_name("true");
    first.set_token_id(*true_token);
    v1::Candidate& second = candidates.emplace_back();
    second.set_name("false");
    second.set_token_id(*false_token);
    return absl::OkStatus();
  }

 private:
  // As Score cuts the whole string: where the prompt alone ends. Nullopt if
  // nothing is left behind it.
  absl::StatusOr<std::optional<int32_t>> FirstToken(const McqItem& question,
                                                    int option,
                                                    const McqPrompt& prompt) {
    v1::TokenizeRequest request;
    request.set_model(model_);
    request.set_text(absl::StrCat(
        prompt.text,
        Continuation(question, option, scoring_, scorer_.format())));
    // A chat template writes the special tokens itself.
    request.set_skip_special_tokens(scorer_.format().chat);
    ASSIGN_OR_RETURN(const v1::TokenizeResponse response,
                     compute_.Tokenize(request, call_));
    const size_t at = prompt.tokens.size();
    if (at >= static_cast<size_t>(response.ids_size())) return std::nullopt;
    return response.ids(static_cast<int>(at));
  }

  ComputeClient& compute_;
  const std::string& model_;
  const v1::McqScoring scoring_;
  const CallOptions& call_;
  McqScorer& scorer_;
};

}  // namespace

absl::StatusOr<PromptSet> ParsePrompts(absl::string_view text,
                                       absl::string_view file_name) {
  ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                   ParseJsonLines(text, file_name));
  if (lines.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file_name,
        ": has no rows; a row is {\"id\", \"prompt\" | \"chat\" | \"tokens\"}, "
        "a probing prompt or a multiple-choice question"));
  }
  PromptSet set;
  set.kind = KindOf(lines.front().value);
  if (set.kind == PromptKind::kQuestions) {
    ASSIGN_OR_RETURN(set.questions, ParseMcqData(text, file_name));
  }
  std::map<std::string, int> line_of_id;
  for (const JsonLine& line : lines) {
    std::string where = absl::StrCat(file_name, ":", line.line_number);
    ASSIGN_OR_RETURN(v1::Input input, ParseRow(set.kind, line, where));
    AddLabels(line.value, input);
    GroupByFact(input);
    const auto [at, added] = line_of_id.emplace(input.id(), line.line_number);
    if (!added) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": id: \"", input.id(), "\" is already on line ",
                       at->second, "; every prompt needs its own"));
    }
    set.inputs.push_back(std::move(input));
    set.places.push_back(std::move(where));
  }
  return set;
}

PromptGroups GroupsOf(const PromptSet& set) {
  std::set<std::string> groups;
  size_t grouped = 0;
  for (const v1::Input& input : set.inputs) {
    if (input.group().empty()) continue;
    groups.insert(input.group());
    ++grouped;
  }
  const size_t rows = set.inputs.size();
  PromptGroups all{.row_count = static_cast<int>(rows),
                   .group_count = static_cast<int>(groups.size()),
                   .text = absl::StrCat(rows, " rows")};
  if (grouped == 0) {
    absl::StrAppend(
        &all.text,
        ", no `group` and no `fact`: paraphrases may straddle folds");
    return all;
  }
  absl::StrAppend(&all.text, " in ", groups.size(), " groups");
  if (grouped == rows) return all;
  absl::StrAppend(&all.text, ", ", rows - grouped,
                  " of them with no `group` and no `fact`: paraphrases of "
                  "those may straddle folds");
  return all;
}

std::optional<int> TrueAnswer(const McqItem& question) {
  if (question.world_label == kFalseWorld ||
      question.implied_false_answer == question.correct_answer) {
    return std::nullopt;
  }
  return question.correct_answer;
}

absl::StatusOr<RenderedPrompts> RenderPrompts(
    const PromptSet& set, absl::Span<const v1::Variant> variants,
    v1::McqScoring scoring, ComputeClient& compute, const CallOptions& call) {
  RenderedPrompts rendered;
  rendered.inputs = set.inputs;
  rendered.candidates.resize(set.inputs.size());
  if (set.kind != PromptKind::kQuestions) return rendered;
  McqScorer scorer(compute, {variants.begin(), variants.end()}, scoring, call);
  RETURN_IF_ERROR(scorer.ReadModels().status());
  rendered.format = scorer.format();
  Renderer renderer(compute, variants.front().model(), scoring, call, scorer);
  for (size_t i = 0; i < set.questions.size(); ++i) {
    RETURN_IF_ERROR(
        Annotate(renderer.Render(set.questions[i], rendered.inputs[i],
                                 rendered.candidates[i]),
                 absl::StrCat("question ", set.questions[i].id)));
  }
  return rendered;
}

}  // namespace dissonance
