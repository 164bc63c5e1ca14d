#include "src/lab/answers/open_files.h"

#include <cstddef>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"
#include "src/lab/answers/open_prompt.h"
#include "src/lab/answers/self_report.h"
#include "src/lab/files/json_document.h"
#include "src/lab/files/row_files.h"
#include "src/lab/interp/ask_networks.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

template <typename T>
Json OrNull(const std::optional<T>& value) {
  return value.has_value() ? Json(*value) : Json();
}

// Nats.
double NllOf(const OpenAnswer& answer) {
  return -std::accumulate(answer.token_logprobs.begin(),
                          answer.token_logprobs.end(), 0.0);
}

double MeanNllOf(const OpenAnswer& answer) {
  return NllOf(answer) / static_cast<double>(answer.token_logprobs.size());
}

const std::vector<OpenAnswer>& SamplesOf(const OpenOutcome& outcome,
                                         size_t question, size_t variant) {
  return outcome.records[question].answers[variant];
}

Json AnswerRow(const OpenPlan& plan, size_t question, size_t variant,
               size_t sample, const OpenAnswer& answer) {
  const OpenQuestion& asked = plan.questions[question];
  Json row = {{"id", asked.id},
              {"sample", sample},
              {"variant", OpenVariantName(static_cast<int>(variant))},
              {"model", VariantName(plan.variants[variant])},
              {"category", OrNull(asked.category)},
              {"difficulty", OrNull(asked.difficulty)},
              {"question", asked.question},
              {"mode", OpenModeName(plan.mode)},
              {"answer", answer.text},
              {"finish_reason", answer.finish_reason},
              {"seed", plan.greedy() ? Json() : Json(answer.seed)},
              {"token_count", answer.token_ids.size()},
              {"nll_sum", NllOf(answer)},
              {"nll_mean", MeanNllOf(answer)},
              {"token_ids", answer.token_ids},
              {"token_logprobs", answer.token_logprobs}};
  if (plan.mode == v1::OPEN_MODE_DOUBT_PROBE) {
    row["confidence"] = OrNull(ReadConfidence(answer.text));
    row["reason"] = OrNull(ReadReason(answer.text));
  }
  return row;
}

std::string AnswersFile(const OpenOutcome& outcome, size_t variant) {
  std::string text;
  for (size_t q = 0; q < outcome.records.size(); ++q) {
    const std::vector<OpenAnswer>& samples = SamplesOf(outcome, q, variant);
    for (size_t s = 0; s < samples.size(); ++s) {
      text += LinesFile({AnswerRow(outcome.plan, q, variant, s, samples[s])});
    }
  }
  return text;
}

// Over all answers of a variant.
struct Totals {
  int64_t count = 0;
  int64_t ended = 0;
  int64_t tokens = 0;
  double mean_nlls = 0;
  int64_t confident = 0;  // whose confidence could be read
  double confidence = 0;
};

Totals TotalsOf(const OpenOutcome& outcome, size_t variant) {
  Totals totals;
  for (size_t q = 0; q < outcome.records.size(); ++q) {
    for (const OpenAnswer& answer : SamplesOf(outcome, q, variant)) {
      ++totals.count;
      totals.ended += answer.finish_reason == "length" ? 0 : 1;
      totals.tokens += static_cast<int64_t>(answer.token_ids.size());
      totals.mean_nlls += MeanNllOf(answer);
      const std::optional<double> confidence = ReadConfidence(answer.text);
      if (!confidence.has_value()) continue;
      ++totals.confident;
      totals.confidence += *confidence;
    }
  }
  return totals;
}

// Answers whose text is not that of the first variant's same sample.
int64_t DifferentCount(const OpenOutcome& outcome, size_t variant) {
  int64_t count = 0;
  for (size_t q = 0; q < outcome.records.size(); ++q) {
    const std::vector<OpenAnswer>& base = SamplesOf(outcome, q, 0);
    const std::vector<OpenAnswer>& own = SamplesOf(outcome, q, variant);
    for (size_t s = 0; s < own.size(); ++s) {
      count += own[s].text == base[s].text ? 0 : 1;
    }
  }
  return count;
}

Json VariantSummary(const OpenOutcome& outcome, const std::string& label,
                    size_t variant) {
  const Totals totals = TotalsOf(outcome, variant);
  const auto n = static_cast<double>(totals.count);
  Json summary = {
      {"variant", OpenVariantName(static_cast<int>(variant))},
      {"label", label},
      {"model", VariantName(outcome.plan.variants[variant])},
      {"file", OpenAnswersName(static_cast<int>(variant))},
      {"n", totals.count},
      {"differ_n",
       variant == 0 ? Json() : Json(DifferentCount(outcome, variant))},
      {"nll_mean", totals.mean_nlls / n},
      {"token_count_mean", static_cast<double>(totals.tokens) / n},
      {"ended_share", static_cast<double>(totals.ended) / n}};
  if (outcome.plan.mode != v1::OPEN_MODE_DOUBT_PROBE) return summary;
  summary["confidence_mean"] =
      totals.confident == 0
          ? Json()
          : Json(totals.confidence / static_cast<double>(totals.confident));
  summary["confidence_n"] = totals.confident;
  summary["confidence_unread_n"] = totals.count - totals.confident;
  return summary;
}

// Every line of `text` behind `indent` spaces.
std::string Indented(absl::string_view text, size_t indent) {
  return absl::StrReplaceAll(
      absl::StripAsciiWhitespace(text),
      {{"\n", absl::StrCat("\n", std::string(indent, ' '))}});
}

std::string QuestionText(const OpenOutcome& outcome,
                         const std::vector<std::string>& labels, size_t width,
                         size_t question) {
  const OpenQuestion& asked = outcome.plan.questions[question];
  std::string about = asked.category.value_or("");
  if (asked.difficulty.has_value()) {
    absl::StrAppend(&about, about.empty() ? "" : ", ", *asked.difficulty);
  }
  std::string text =
      Indented(absl::StrCat(asked.id, about.empty() ? "" : "  ", about), 2);
  absl::StrAppend(&text, "\n  ", Indented(asked.question, 2), "\n");
  for (size_t v = 0; v < labels.size(); ++v) {
    for (const OpenAnswer& answer : SamplesOf(outcome, question, v)) {
      const bool is_cut = answer.finish_reason == "length";
      absl::StrAppend(
          &text, "    ", labels[v], std::string(width - labels[v].size(), ' '),
          "  ", Indented(answer.text, width + 6), is_cut ? " [cut]" : "", "\n");
    }
  }
  return text;
}

std::string AnswersText(const OpenOutcome& outcome,
                        const std::vector<std::string>& labels) {
  size_t width = 0;
  for (const std::string& label : labels) {
    width = std::max(width, label.size());
  }
  std::string text;
  for (size_t q = 0; q < outcome.records.size(); ++q) {
    absl::StrAppend(&text, q == 0 ? "" : "\n",
                    QuestionText(outcome, labels, width, q));
  }
  return text;
}

}  // namespace

std::string OpenVariantName(int variant) {
  if (variant == 0) return "base";
  return variant == 1 ? "lora" : absl::StrCat(variant);
}

std::string OpenAnswersName(int variant) {
  return absl::StrCat("answers_", OpenVariantName(variant), ".jsonl");
}

std::vector<JobFile> OpenFiles(const OpenOutcome& outcome) {
  const std::vector<std::string> labels = VariantLabels(outcome.plan.variants);
  std::vector<JobFile> files;
  Json variants = Json::array();
  for (size_t v = 0; v < labels.size(); ++v) {
    files.push_back(
        {OpenAnswersName(static_cast<int>(v)), AnswersFile(outcome, v)});
    variants.push_back(VariantSummary(outcome, labels[v], v));
  }
  files.push_back(
      {"summary.json",
       JsonDocument({{"mode", OpenModeName(outcome.plan.mode)},
                     {"question_count", outcome.plan.questions.size()},
                     {"sample_count", outcome.plan.sample_count},
                     {"variants", std::move(variants)}})});
  files.push_back({"answers.txt", AnswersText(outcome, labels)});
  return files;
}

}  // namespace dissonance
