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
  add(base.overall);
  table.AddRow({"false-belief rate",
                absl::StrCat(base.false_belief.counted_count),
                Belief(base.false_belief), ""});
  return table.Render();
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
  add(base.overall, adapter.overall);
  const FalseBelief& before = base.false_belief;
  const FalseBelief& after = adapter.false_belief;
  table.AddRow(
      {"false-belief rate", absl::StrCat(before.counted_count), Belief(before),
       Belief(after),
       before.rate && after.rate ? Points(*before.rate, *after.rate) : ""});
  return table.Render();
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
  const bool to_false =
      flip.false_answer.has_value() && flip.to == *flip.false_answer;
  return absl::StrCat("  ", Printable(flip.id), "  ",
                      item == nullptr ? "" : Printable(item->question),
                      "\n      base     ", Option(flip.from, item),
                      flip.from == flip.correct ? "  (correct)" : "",
                      "\n      adapter  ", Option(flip.to, item),
                      flip.to == flip.correct ? "  (correct)" : "",
                      to_false ? "  (the false belief)" : "", "\n");
}

std::string FlipList(const McqComparison& comparison,
                     absl::Span<const McqItem> items) {
  const size_t count = comparison.flips.size();
  std::string out =
      absl::StrCat("\nanswered differently: ", count, " of ",
                   comparison.base.overall.question_count, " questions",
                   absl::StrFormat(" (McNemar's exact p = %.3g)\n",
                                   comparison.correct.p_value));
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
      ", answer format ", format, ", ", outcome.base.overall.question_count,
      " questions\n\n");
  if (!outcome.comparison.has_value()) {
    return absl::StrCat(out, BaseTable(outcome.base));
  }
  return absl::StrCat(out, ComparisonTable(*outcome.comparison),
                      FlipList(*outcome.comparison, items));
}

}  // namespace dissonance::cli
