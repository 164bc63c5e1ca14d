#include "client/cli/mcq_summary.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
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

// What a column of the table and its flips call a variant.
std::string RoleOf(const McqSummary& variant) {
  return absl::EndsWith(variant.model, ", steered") ? "steered" : "adapter";
}

std::string ComparisonTable(absl::Span<const McqComparison> comparisons) {
  const McqSummary& base = comparisons.front().base;
  std::vector<Table::Column> columns = {
      {"GROUP"}, {"N", Align::kRight}, {"BASE", Align::kRight}};
  for (const McqComparison& each : comparisons) {
    columns.push_back(
        {absl::AsciiStrToUpper(RoleOf(each.adapter)), Align::kRight});
    columns.push_back({"POINTS", Align::kRight});
  }
  Table table(std::move(columns));
  // `group_in` finds the group in any variant's summary.
  const auto add = [&](const auto& group_in) {
    const McqGroup& own = group_in(base);
    std::vector<std::string> cells = {
        own.name, absl::StrCat(own.question_count), Accuracy(own)};
    for (const McqComparison& each : comparisons) {
      const McqGroup& other = group_in(each.adapter);
      cells.push_back(Accuracy(other));
      cells.push_back(Points(own.accuracy, other.accuracy));
    }
    table.AddRow(std::move(cells));
  };
  for (size_t i = 0; i < base.groups.size(); ++i) {
    add([i](const McqSummary& of) -> const McqGroup& { return of.groups[i]; });
  }
  for (size_t i = 0; i < TotalsOf(base).size(); ++i) {
    add([i](const McqSummary& of) -> const McqGroup& {
      return TotalsOf(of)[i];
    });
  }
  const FalseBelief& before = base.false_belief;
  std::vector<std::string> cells = {
      "false-belief rate", absl::StrCat(before.counted_count), Belief(before)};
  for (const McqComparison& each : comparisons) {
    const FalseBelief& after = each.adapter.false_belief;
    cells.push_back(Belief(after));
    cells.push_back(
        before.rate && after.rate ? Points(*before.rate, *after.rate) : "");
  }
  table.AddRow(std::move(cells));
  return absl::StrCat(table.Render(), WorldsNote(base));
}

std::string Option(int option, const McqItem* item) {
  const std::string letter = McqLetter(option);
  if (item == nullptr) return letter;
  return absl::StrCat(letter, ") ", Printable(item->options[option]));
}

std::string FlipText(const McqFlip& flip, absl::Span<const McqItem> items,
                     const std::string& role) {
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
                      "\n      base     ", answer(flip.from), "      ", role,
                      "  ", answer(flip.to));
}

std::string OnlyOne(absl::string_view what, const std::string& role,
                    const Discordance& questions) {
  return absl::StrFormat(
      "%s for the base only: %d, for the %s only: %d (McNemar's exact p = "
      "%.3g)\n",
      what, questions.base_only_count, role, questions.adapter_only_count,
      questions.p_value);
}

// Of the variant with that number, from 1; of the first one with the questions.
std::string FlipList(const McqComparison& comparison, int variant,
                     absl::Span<const McqItem> items) {
  const size_t count = comparison.flips.size();
  const size_t shown = variant == 1 ? std::min(count, kFlipsShown) : 0;
  const std::string role = RoleOf(comparison.adapter);
  std::string out = "\n";
  if (!MixesWorlds(comparison.base)) {
    out += OnlyOne("correct", role, comparison.correct);
  }
  if (comparison.base.false_belief.rate.has_value()) {
    out += OnlyOne("the false belief", role, comparison.false_belief);
  }
  absl::StrAppend(&out, "answered differently: ", count, " of ",
                  Questions(comparison.base.overall.question_count), "\n");
  for (size_t i = 0; i < shown; ++i) {
    out += FlipText(comparison.flips[i], items, role);
  }
  if (count > shown) {
    absl::StrAppend(&out, shown == 0 ? "  " : "  ... and ", count - shown,
                    shown == 0 ? " in " : " more in ",
                    McqShiftAnalysisName(variant), "\n");
  }
  return out;
}

}  // namespace

absl::StatusOr<McqOutcome> ReadOutcome(const std::string& directory,
                                       int variant_count) {
  const std::string base_path =
      absl::StrCat(directory, "/", McqPredictionsName(0));
  ASSIGN_OR_RETURN(const std::string base,
                   ReadFile(base_path, kPredictionsLimitBytes));
  McqOutcome outcome;
  ASSIGN_OR_RETURN(const std::vector<McqPrediction> predictions,
                   ParsePredictions(base, base_path));
  outcome.base = SummarizePredictions(predictions);
  for (int variant = 1; variant < variant_count; ++variant) {
    const std::string path =
        absl::StrCat(directory, "/", McqPredictionsName(variant));
    ASSIGN_OR_RETURN(const std::string own,
                     ReadFile(path, kPredictionsLimitBytes));
    ASSIGN_OR_RETURN(McqComparison comparison,
                     ComparePredictionFiles({base, base_path}, {own, path}));
    outcome.comparisons.push_back(std::move(comparison));
  }
  return outcome;
}

std::string RenderOutcome(const McqOutcome& outcome,
                          absl::Span<const McqItem> items) {
  const std::string format =
      outcome.base.scoring.empty() ? "unknown" : outcome.base.scoring;
  std::string out = ShortName(outcome.base.model);
  for (size_t i = 0; i < outcome.comparisons.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? " against " : " and ",
                    ShortName(outcome.comparisons[i].adapter.model));
  }
  absl::StrAppend(&out, ", answer format ", format, ", ",
                  Questions(outcome.base.overall.question_count), "\n\n",
                  outcome.comparisons.empty()
                      ? BaseTable(outcome.base)
                      : ComparisonTable(outcome.comparisons));
  const std::string left_out = LeftOutOfBelief(items);
  if (!left_out.empty()) absl::StrAppend(&out, Printable(left_out), "\n");
  for (size_t i = 0; i < outcome.comparisons.size(); ++i) {
    out += FlipList(outcome.comparisons[i], static_cast<int>(i) + 1, items);
  }
  return out;
}

}  // namespace dissonance::cli
