#include "client/cli/mcq_summary.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/names.h"
#include "client/cli/output.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_files.h"
#include "src/lab/eval/mcq_prediction.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kPredictionsLimitBytes = uint64_t{1} << 30;
// A screen's worth; the report has all of them.
constexpr size_t kFlipsShown = 12;

std::string Questions(int64_t count) {
  return absl::StrCat(count, count == 1 ? " question" : " questions");
}

std::string Share(double share, const Interval& interval) {
  return absl::StrFormat("%s [%.0f, %.0f]", HumanPercent(share),
                         interval.low * 100, interval.high * 100);
}

std::string Accuracy(const McqGroup& group) {
  return Share(group.accuracy, group.accuracy_interval);
}

std::string Belief(const FalseBelief& belief) {
  if (!belief.rate.has_value()) return "-";
  return Share(*belief.rate, belief.interval);
}

std::string Points(double before, double after) {
  return absl::StrFormat("%+.1f", (after - before) * 100);
}

// What accuracy means where the questions are of several worlds.
std::string WorldsNote(const McqSummary& summary) {
  if (!MixesWorlds(summary)) return "";
  return "in false_world the correct answer is the one that the false universe "
         "implies\n";
}

std::string BaseTable(const McqSummary& base) {
  Table table({{"GROUP"},
               {"N", Align::kRight},
               {"ACCURACY", Align::kRight},
               {"ENTROPY", Align::kRight}});
  const auto add = [&](const McqGroup& group) {
    table.AddRow({group.name, absl::StrCat(group.question_count),
                  Accuracy(group),
                  absl::StrFormat("%.2f", group.mean_entropy)});
  };
  for (const McqGroup& group : base.groups) add(group);
  for (const McqGroup& total : TotalsOf(base)) add(total);
  table.AddRow({"false-belief rate",
                absl::StrCat(base.false_belief.counted_count),
                Belief(base.false_belief), ""});
  return absl::StrCat(table.Render(), WorldsNote(base));
}

std::string ComparisonTable(const McqComparison& comparison) {
  Table table({{"GROUP"},
               {"N", Align::kRight},
               {"BASE", Align::kRight},
               {"ADAPTER", Align::kRight},
               {"POINTS", Align::kRight}});
  const auto add = [&](const McqGroup& base, const McqGroup& adapter) {
    table.AddRow({base.name, absl::StrCat(base.question_count), Accuracy(base),
                  Accuracy(adapter), Points(base.accuracy, adapter.accuracy)});
  };
  const McqSummary& base = comparison.base;
  const McqSummary& adapter = comparison.adapter;
  for (size_t i = 0; i < base.groups.size(); ++i) {
    add(base.groups[i], adapter.groups[i]);
  }
  const absl::Span<const McqGroup> totals = TotalsOf(base);
  for (size_t i = 0; i < totals.size(); ++i) {
    add(totals[i], TotalsOf(adapter)[i]);
  }
  const FalseBelief& before = base.false_belief;
  const FalseBelief& after = adapter.false_belief;
  table.AddRow(
      {"false-belief rate", absl::StrCat(before.counted_count), Belief(before),
       Belief(after),
       before.rate && after.rate ? Points(*before.rate, *after.rate) : ""});
  return absl::StrCat(table.Render(), WorldsNote(base));
}

std::string Option(int option, const McqItem* item) {
  const std::string letter = McqLetter(option);
  if (item == nullptr) return letter;
  return absl::StrCat(letter, ") ", Printable(item->options[option]));
}

std::string FlipText(const McqFlip& flip, absl::Span<const McqItem> items) {
  const McqItem* item = nullptr;
  for (const McqItem& each : items) {
    if (each.id == flip.id) item = &each;
  }
  const auto answer = [&](int option) {
    return absl::StrCat(Option(option, item),
                        option == flip.false_answer ? "  (the false belief)"
                        : option == flip.correct    ? "  (correct)"
                                                    : "",
                        "\n");
  };
  return absl::StrCat("  ", Printable(flip.id), "  ",
                      item == nullptr ? "" : Printable(item->question),
                      "\n      base     ", answer(flip.from), "      adapter  ",
                      answer(flip.to));
}

std::string OnlyOne(absl::string_view what, const Discordance& questions) {
  return absl::StrFormat(
      "%s for the base only: %d, for the adapter only: %d (McNemar's exact p = "
      "%.3g)\n",
      what, questions.base_only_count, questions.adapter_only_count,
      questions.p_value);
}

std::string FlipList(const McqComparison& comparison,
                     absl::Span<const McqItem> items) {
  const size_t count = comparison.flips.size();
  std::string out = "\n";
  if (!MixesWorlds(comparison.base)) {
    out += OnlyOne("correct", comparison.correct);
  }
  if (comparison.base.false_belief.rate.has_value()) {
    out += OnlyOne("the false belief", comparison.false_belief);
  }
  absl::StrAppend(&out, "answered differently: ", count, " of ",
                  Questions(comparison.base.overall.question_count), "\n");
  for (size_t i = 0; i < count && i < kFlipsShown; ++i) {
    out += FlipText(comparison.flips[i], items);
  }
  if (count > kFlipsShown) {
    absl::StrAppend(&out, "  ... and ", count - kFlipsShown, " more in ",
                    McqShiftAnalysisName(1), "\n");
  }
  return out;
}

}  // namespace

absl::StatusOr<McqOutcome> ReadOutcome(const std::string& directory,
                                       bool compared) {
  const std::string base_path =
      absl::StrCat(directory, "/", McqPredictionsName(0));
  ASSIGN_OR_RETURN(const std::string base,
                   ReadFile(base_path, kPredictionsLimitBytes));
  McqOutcome outcome;
  if (!compared) {
    ASSIGN_OR_RETURN(const std::vector<McqPrediction> predictions,
                     ParsePredictions(base, base_path));
    outcome.base = SummarizePredictions(predictions);
    return outcome;
  }
  const std::string adapter_path =
      absl::StrCat(directory, "/", McqPredictionsName(1));
  ASSIGN_OR_RETURN(const std::string adapter,
                   ReadFile(adapter_path, kPredictionsLimitBytes));
  ASSIGN_OR_RETURN(
      outcome.comparison,
      ComparePredictionFiles({base, base_path}, {adapter, adapter_path}));
  outcome.base = outcome.comparison->base;
  return outcome;
}

std::string RenderOutcome(const McqOutcome& outcome,
                          absl::Span<const McqItem> items) {
  const std::string format =
      outcome.base.scoring.empty() ? "unknown" : outcome.base.scoring;
  std::string out = absl::StrCat(
      ShortName(outcome.base.model),
      outcome.comparison.has_value()
          ? absl::StrCat(" against ",
                         ShortName(outcome.comparison->adapter.model))
          : "",
      ", answer format ", format, ", ",
      Questions(outcome.base.overall.question_count), "\n\n");
  if (!outcome.comparison.has_value()) {
    return absl::StrCat(out, BaseTable(outcome.base));
  }
  return absl::StrCat(out, ComparisonTable(*outcome.comparison),
                      FlipList(*outcome.comparison, items));
}

}  // namespace dissonance::cli
