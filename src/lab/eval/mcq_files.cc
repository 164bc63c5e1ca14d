#include "src/lab/eval/mcq_files.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/sha256.h"
#include "src/lab/files/json_document.h"
#include "src/lab/tensors/intervention_words.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

template <typename T>
Json OrNull(const std::optional<T>& value) {
  return value.has_value() ? Json(*value) : Json();
}

Json LetterOrNull(const std::optional<int>& option) {
  return option.has_value() ? Json(McqLetter(*option)) : Json();
}

Json ToJson(const Interval& interval) {
  return Json::array({interval.low, interval.high});
}

Json ToJson(const McqGroup& group) {
  return {{"n", group.question_count},
          {"correct", group.correct_count},
          {"accuracy", group.accuracy},
          {"accuracy_interval_95", ToJson(group.accuracy_interval)},
          {"mean_entropy", group.mean_entropy},
          {"mean_p_correct", group.mean_p_correct},
          {"mean_MI", group.mean_mi}};
}

Json ToJson(const FalseBelief& belief) {
  Json json = {{"conflict_n", belief.conflict_count},
               {"counted_n", belief.counted_count},
               {"left_out_n", belief.conflict_count - belief.counted_count},
               {"false_n", belief.false_count},
               {"rate", OrNull(belief.rate)},
               {"interval_95", ToJson(belief.interval)}};
  if (!belief.rate.has_value()) {
    json["interval_95"] = nullptr;
    json["reason"] = "no conflict question with a known false answer";
  }
  return json;
}

Json ToJson(const Discordance& pairs) {
  return {{"base_only", pairs.base_only_count},
          {"adapter_only", pairs.adapter_only_count},
          {"p_value", pairs.p_value}};
}

Json ToJson(const McqFlip& flip) {
  return {{"id", flip.id},
          {"group", flip.group},
          {"from", McqLetter(flip.from)},
          {"to", McqLetter(flip.to)},
          {"correct", McqLetter(flip.correct)},
          {"false_answer", LetterOrNull(flip.false_answer)},
          {"base_entropy", flip.base_entropy},
          {"adapter_entropy", flip.adapter_entropy},
          {"base_p_correct", flip.base_p_correct},
          {"adapter_p_correct", flip.adapter_p_correct}};
}

Json ToJson(const McqSummary& summary) {
  Json groups = Json::object();
  for (const McqGroup& group : summary.groups) {
    groups[group.name] = ToJson(group);
  }
  return {{"model", summary.model},
          {"overall", ToJson(summary.overall)},
          {"groups", std::move(groups)},
          {"false_belief", ToJson(summary.false_belief)}};
}

Json ScoringJson(const std::string& scoring) {
  return scoring.empty() ? Json() : Json(scoring);
}

std::string Numbered(absl::string_view stem, int variant, int plain,
                     absl::string_view extension) {
  return variant == plain ? absl::StrCat(stem, extension)
                          : absl::StrCat(stem, "_", variant, extension);
}

}  // namespace

std::string McqPredictionsName(int variant) {
  if (variant == 0) return "predictions_base.jsonl";
  return Numbered(variant == 1 ? "predictions_lora" : "predictions", variant, 1,
                  ".jsonl");
}

std::string McqComparisonName(int variant) {
  return Numbered("comparison_report", variant, 1, ".json");
}

std::string McqShiftAnalysisName(int variant) {
  return Numbered("behavioral_shift_analysis", variant, 1, ".txt");
}

std::string PredictionsFile(absl::Span<const McqPrediction> predictions) {
  std::string text;
  for (const McqPrediction& p : predictions) {
    text += ToJsonLine(PredictionJson(p));
  }
  return text;
}

std::string SummaryFile(absl::Span<const McqSummary> variants) {
  Json list = Json::array();
  for (const McqSummary& summary : variants) list.push_back(ToJson(summary));
  return JsonDocument({{"scoring", ScoringJson(variants.front().scoring)},
                       {"variants", std::move(list)}});
}

std::string ComparisonReport(const McqComparison& comparison) {
  Json flips = Json::array();
  for (const McqFlip& flip : comparison.flips) flips.push_back(ToJson(flip));
  const auto& base_rate = comparison.base.false_belief.rate;
  const auto& adapter_rate = comparison.adapter.false_belief.rate;
  return JsonDocument(
      {{"scoring", ScoringJson(comparison.base.scoring)},
       {"base", ToJson(comparison.base)},
       {"adapter", ToJson(comparison.adapter)},
       {"accuracy_change",
        comparison.adapter.overall.accuracy - comparison.base.overall.accuracy},
       {"false_belief_gap",
        base_rate && adapter_rate ? Json(*adapter_rate - *base_rate) : Json()},
       {"mcnemar_correct", ToJson(comparison.correct)},
       {"mcnemar_false_belief", ToJson(comparison.false_belief)},
       {"flip_count", comparison.flips.size()},
       {"flips", std::move(flips)}});
}

std::string EvalPromptsFile(absl::Span<const McqItem> items,
                            absl::Span<const McqPrompt> prompts) {
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    Json options = Json::object();
    for (int option = 0; option < kMcqOptionCount; ++option) {
      options[McqLetter(option)] =
          items[i].options.at(static_cast<size_t>(option));
    }
    text += ToJsonLine({{"id", items[i].id},
                        {"category", items[i].category},
                        {"question", items[i].question},
                        {"options", std::move(options)},
                        {"world_label", OrNull(items[i].world_label)},
                        {"difficulty", OrNull(items[i].difficulty)},
                        {"full_prompt_text", prompts[i].text},
                        {"tokens", prompts[i].tokens},
                        {"decision_position",
                         static_cast<int64_t>(prompts[i].tokens.size()) - 1}});
  }
  return text;
}

std::string ManifestFile(const McqManifest& manifest,
                         absl::Span<const McqFile> files) {
  const v1::EvaluateMcqSpec& spec = manifest.spec;
  Json variants = Json::array();
  for (int i = 0; i < spec.variants_size(); ++i) {
    variants.push_back(
        {{"model", spec.variants(i).model()},
         {"adapter", spec.variants(i).adapter()},
         {"interventions", InterventionsJson(spec.variants(i))},
         {"predictions", McqPredictionsName(i)},
         {"provenance", ProvenanceJson(manifest.provenance[i])}});
  }
  Json digests = Json::object();
  for (const McqFile& file : files) {
    digests[file.name] = {{"sha256", Sha256Of(file.contents)},
                          {"size_bytes", file.contents.size()}};
  }
  return JsonDocument(
      {{"kind", "evaluate_mcq"},
       {"data",
        {{"name", spec.data_name()},
         {"sha256", Sha256Of(spec.data())},
         {"question_count", manifest.question_count}}},
       {"scoring", McqScoringName(manifest.scoring)},
       {"prompt_format",
        {{"chat", manifest.format.chat},
         {"system", manifest.format.system},
         {"letter_ending", manifest.format.letter_ending},
         {"text_ending", manifest.format.text_ending},
         {"text_prefix", manifest.format.text_prefix},
         {"text_suffix", manifest.format.text_suffix}}},
       {"mc_dropout_sample_count", spec.mc_dropout_sample_count()},
       {"seed", spec.seed()},
       {"variants", std::move(variants)},
       {"files", std::move(digests)},
       {"run",
        {{"job", manifest.job.name()},
         {"request_id", manifest.job.request_id()}}}});
}

}  // namespace dissonance
