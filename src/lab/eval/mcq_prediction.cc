#include "src/lab/eval/mcq_prediction.h"

#include <map>
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

template <typename T>
nlohmann::json OrNull(const std::optional<T>& value) {
  return value.has_value() ? nlohmann::json(*value) : nlohmann::json();
}

nlohmann::json ByLetter(const PerOption& numbers) {
  nlohmann::json object;
  for (int option = 0; option < kMcqOptionCount; ++option) {
    object[McqLetter(option)] = numbers[option];
  }
  return object;
}

nlohmann::json VariantsByLetter(const std::vector<std::string>& texts) {
  nlohmann::json object;
  const size_t each = texts.size() / kMcqOptionCount;
  for (size_t i = 0; i < texts.size(); ++i) {
    object[McqLetter(static_cast<int>(i / each))].push_back(texts[i]);
  }
  return object;
}

absl::Status ReadUncertainty(const JsonFields& line, Uncertainty& out) {
  if (!line.Has("uncertainty")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JsonFields fields, line.Object("uncertainty"));
  ASSIGN_OR_RETURN(out.h_mean, fields.Number("H_mean"));
  ASSIGN_OR_RETURN(out.e_h, fields.Number("E_H"));
  ASSIGN_OR_RETURN(out.mi, fields.Number("MI"));
  return absl::OkStatus();
}

// The false answer that the file gives, or that follows from the world alone
// where the file was written by a tool that does not give it.
absl::Status ReadFalseAnswer(const JsonFields& line, McqPrediction& p) {
  ASSIGN_OR_RETURN(p.false_answer, line.OptionalLetter("false_answer"));
  if (!line.object().contains("false_answer") &&
      absl::StartsWith(p.category, "conflict") &&
      p.world_label == kFalseWorld) {
    p.false_answer = p.correct;
  }
  return absl::OkStatus();
}

absl::StatusOr<McqPrediction> ParsePrediction(const JsonFields& line) {
  McqPrediction p;
  ASSIGN_OR_RETURN(p.id, line.Text("id"));
  ASSIGN_OR_RETURN(p.model, line.Text("model"));
  ASSIGN_OR_RETURN(p.category, line.Text("category"));
  ASSIGN_OR_RETURN(p.world_label, line.OptionalWorldLabel());
  ASSIGN_OR_RETURN(p.difficulty, line.OptionalText("difficulty"));
  ASSIGN_OR_RETURN(p.pred, line.Letter("pred"));
  ASSIGN_OR_RETURN(p.correct, line.Letter("correct"));
  ASSIGN_OR_RETURN(const bool is_correct, line.Bool("is_correct"));
  if (is_correct != p.is_correct()) {
    return line.Error("is_correct", "contradicts pred and correct");
  }
  ASSIGN_OR_RETURN(p.logprobs, line.Numbers("logprobs"));
  ASSIGN_OR_RETURN(p.probs, line.Numbers("probs"));
  ASSIGN_OR_RETURN(p.entropy, line.Number("entropy"));
  ASSIGN_OR_RETURN(p.p_correct, line.Number("p_correct"));
  ASSIGN_OR_RETURN(std::optional<std::string> scoring,
                   line.OptionalText("scoring"));
  p.scoring = scoring.value_or("");
  if (line.Has("scoring_variants")) {
    p.scoring_variants = line.object().at("scoring_variants");
  }
  RETURN_IF_ERROR(ReadUncertainty(line, p.uncertainty));
  RETURN_IF_ERROR(ReadFalseAnswer(line, p));
  return p;
}

// A file holds one model's answers in one scoring.
absl::Status CheckSameAsFirst(const JsonFields& line, const McqPrediction& p,
                              const McqPrediction& first) {
  if (p.model != first.model) {
    return line.Error("model", absl::StrCat("\"", p.model, "\", but \"",
                                            first.model, "\" before it"));
  }
  if (p.scoring != first.scoring) {
    return line.Error("scoring", absl::StrCat("\"", p.scoring, "\", but \"",
                                              first.scoring, "\" before it"));
  }
  return absl::OkStatus();
}

}  // namespace

PerOption OptionScores(const McqItem& item, v1::McqScoring scoring,
                       const RawScores& raw) {
  PerOption scores;
  for (int option = 0; option < kMcqOptionCount; ++option) {
    scores[option] =
        raw[option].size() == 1 ? raw[option][0] : LogSumExp(raw[option]);
    if (IsPerByte(scoring)) {
      scores[option] /= static_cast<double>(item.options[option].size());
    }
  }
  return scores;
}

McqPrediction MakePrediction(const McqItem& item, absl::string_view model,
                             v1::McqScoring scoring,
                             const McqPromptFormat& format,
                             const VariantScores& scores) {
  McqPrediction p;
  p.id = item.id;
  p.model = std::string(model);
  p.category = item.category;
  p.world_label = item.world_label;
  p.difficulty = item.difficulty;
  p.correct = item.correct_answer;
  p.false_answer = item.implied_false_answer;
  p.logprobs = OptionScores(item, scoring, scores.scores);
  p.pred = Argmax(p.logprobs);
  p.probs = Softmax(p.logprobs);
  p.entropy = Entropy(p.probs);
  p.p_correct = p.probs[p.correct];
  p.scoring = McqScoringName(scoring);
  p.scoring_variants =
      VariantsByLetter(McqContinuations(item, scoring, format));
  std::vector<PerOption> samples;
  for (const RawScores& sample : scores.dropout_samples) {
    samples.push_back(Softmax(OptionScores(item, scoring, sample)));
  }
  if (samples.empty()) samples.push_back(p.probs);
  p.uncertainty = UncertaintyOf(samples);
  return p;
}

nlohmann::json PredictionJson(const McqPrediction& p) {
  return {
      {"id", p.id},
      {"model", p.model},
      {"category", p.category},
      {"world_label", OrNull(p.world_label)},
      {"difficulty", OrNull(p.difficulty)},
      {"pred", McqLetter(p.pred)},
      {"correct", McqLetter(p.correct)},
      {"is_correct", p.is_correct()},
      {"logprobs", ByLetter(p.logprobs)},
      {"probs", ByLetter(p.probs)},
      {"entropy", p.entropy},
      {"p_correct", p.p_correct},
      {"scoring", p.scoring},
      {"scoring_variants", p.scoring_variants},
      {"uncertainty",
       {{"H_mean", p.uncertainty.h_mean},
        {"E_H", p.uncertainty.e_h},
        {"MI", p.uncertainty.mi}}},
      {"false_answer", p.false_answer.has_value()
                           ? nlohmann::json(McqLetter(*p.false_answer))
                           : nlohmann::json()},
  };
}

absl::StatusOr<std::vector<McqPrediction>> ParsePredictions(
    absl::string_view text, absl::string_view file_name) {
  ASSIGN_OR_RETURN(std::vector<JsonLine> lines,
                   ParseJsonLines(text, file_name));
  std::vector<McqPrediction> predictions;
  predictions.reserve(lines.size());
  std::map<std::string, int> line_of_id;
  for (const JsonLine& line : lines) {
    const JsonFields fields(line.value,
                            absl::StrCat(file_name, ":", line.line_number));
    ASSIGN_OR_RETURN(McqPrediction p, ParsePrediction(fields));
    const auto [at, added] = line_of_id.emplace(p.id, line.line_number);
    if (!added) {
      return fields.Error(
          "id", absl::StrCat("\"", p.id, "\" is already on line ", at->second));
    }
    if (!predictions.empty()) {
      RETURN_IF_ERROR(CheckSameAsFirst(fields, p, predictions.front()));
    }
    predictions.push_back(std::move(p));
  }
  if (predictions.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file_name, ": holds no predictions"));
  }
  return predictions;
}

}  // namespace dissonance
