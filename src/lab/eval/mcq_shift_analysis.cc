#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "src/lab/eval/mcq_files.h"

namespace dissonance {
namespace {

struct Explanation {
  absl::string_view scoring;
  absl::string_view sentence;
};

constexpr Explanation kExplanations[] = {
    {"letter_variants",
     "the options are shown, the answer is the most likely letter (with or "
     "without a space or a new line before it)"},
    {"letter_first_token",
     "the options are shown, the answer is the most likely first token of a "
     "letter after a space"},
    {"option_text",
     "the options are shown, the answer is the option whose text is the most "
     "likely reply"},
    {"option_text_per_byte",
     "the options are shown, the answer is the option whose text is the most "
     "likely reply, per byte"},
    {"cloze",
     "the options are not shown, the answer is the option whose text is the "
     "most likely reply"},
    {"cloze_per_byte",
     "the options are not shown, the answer is the option whose text is the "
     "most likely reply, per byte"},
};

// What a scoring measures, in a sentence.
absl::string_view Explain(absl::string_view scoring) {
  for (const Explanation& known : kExplanations) {
    if (known.scoring == scoring) return known.sentence;
  }
  return "the files do not say what it measures";
}

std::string Header(const McqComparison& comparison) {
  const std::string& scoring = comparison.base.scoring;
  return absl::StrCat(
      "Base against adapter on multiple-choice questions\n\n",  //
      "base       ", comparison.base.model, "\n",               //
      "adapter    ", comparison.adapter.model, "\n",            //
      "format     ", scoring.empty() ? "unknown" : scoring, ": ",
      Explain(scoring), "\n",  //
      "questions  ", comparison.base.overall.question_count, "\n\n",
      "A model may know an answer in one format and not in another: these "
      "figures\nare about this format only.\n\n");
}

// Columns that a terminal shows for UTF-8 text without wide characters.
int Columns(absl::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string Padded(absl::string_view text, int columns) {
  const int missing = std::max(columns - Columns(text), 0);
  return absl::StrCat(text, std::string(missing, ' '));
}

std::string AccuracyCell(const McqGroup& group) {
  return absl::StrFormat("%.3f [%.3f, %.3f]", group.accuracy,
                         group.accuracy_interval.low,
                         group.accuracy_interval.high);
}

std::string GroupRow(const McqGroup& base, const McqGroup& adapter,
                     int name_columns) {
  return absl::StrFormat(
      "%s %5d  %s  %s  %+7.3f  %.3f -> %.3f  %.3f -> %.3f  %.3f -> %.3f\n",
      Padded(base.name, name_columns), base.question_count, AccuracyCell(base),
      AccuracyCell(adapter), adapter.accuracy - base.accuracy,
      base.mean_p_correct, adapter.mean_p_correct, base.mean_entropy,
      adapter.mean_entropy, base.mean_mi, adapter.mean_mi);
}

std::string GroupTable(const McqComparison& comparison) {
  int name_columns = Columns("group");
  const absl::Span<const McqGroup> base_totals = TotalsOf(comparison.base);
  const absl::Span<const McqGroup> adapter_totals =
      TotalsOf(comparison.adapter);
  for (const McqGroup& group : comparison.base.groups) {
    name_columns = std::max(name_columns, Columns(group.name));
  }
  for (const McqGroup& group : base_totals) {
    name_columns = std::max(name_columns, Columns(group.name));
  }
  std::string table = absl::StrFormat(
      "Accuracy with Wilson's 95 %% interval; means over the questions\n\n"
      "%s     n  %-20s  %-20s   change  %-14s  %-14s  %s\n",
      Padded("group", name_columns), "base", "adapter", "p_correct", "entropy",
      "MI");
  for (size_t i = 0; i < comparison.base.groups.size(); ++i) {
    table += GroupRow(comparison.base.groups[i], comparison.adapter.groups[i],
                      name_columns);
  }
  for (size_t i = 0; i < base_totals.size(); ++i) {
    table += GroupRow(base_totals[i], adapter_totals[i], name_columns);
  }
  if (MixesWorlds(comparison.base)) {
    return absl::StrCat(table,
                        "\nIn false_world the correct answer is the one that "
                        "the false universe implies.\n\n");
  }
  return absl::StrCat(
      table, "\n",
      absl::StrFormat("%d right for the base only, %d for the adapter only; "
                      "McNemar's exact p = %.3g\n\n",
                      comparison.correct.base_only_count,
                      comparison.correct.adapter_only_count,
                      comparison.correct.p_value));
}

std::string BeliefRow(absl::string_view name, const FalseBelief& belief) {
  return absl::StrFormat("%-8s %.3f [%.3f, %.3f]  %d of %d\n", name,
                         *belief.rate, belief.interval.low,
                         belief.interval.high, belief.false_count,
                         belief.counted_count);
}

std::string FalseBeliefTable(const McqComparison& comparison) {
  const FalseBelief& base = comparison.base.false_belief;
  const FalseBelief& adapter = comparison.adapter.false_belief;
  std::string text =
      "False-belief rate: conflict questions answered as the false universe "
      "implies\n\n";
  if (!base.rate.has_value() || !adapter.rate.has_value()) {
    return absl::StrCat(text, "none: no conflict question has a known false ",
                        "answer (false_answer)\n\n");
  }
  absl::StrAppend(
      &text, BeliefRow("base", base), BeliefRow("adapter", adapter),
      absl::StrFormat(
          "gap      %+.3f; %d for the base only, %d for the adapter "
          "only; McNemar's exact p = %.3g\n",
          *adapter.rate - *base.rate, comparison.false_belief.base_only_count,
          comparison.false_belief.adapter_only_count,
          comparison.false_belief.p_value));
  if (const int64_t left_out = base.conflict_count - base.counted_count) {
    absl::StrAppend(&text, left_out, " of ", base.conflict_count,
                    " conflict questions are left out: their false answer is "
                    "not known\n");
  }
  return text + "\n";
}

// Text of several lines, all behind the same indent.
std::string Indented(absl::string_view text) {
  return absl::StrCat("    ", absl::StrReplaceAll(text, {{"\n", "\n    "}}),
                      "\n");
}

std::string FlipText(const McqFlip& flip, const McqItem* item) {
  std::string text = absl::StrCat(flip.id, "  (", flip.group, ")\n");
  if (item != nullptr) {
    text += Indented(item->question);
    for (int option = 0; option < kMcqOptionCount; ++option) {
      text += Indented(
          absl::StrCat(McqLetter(option), ") ", item->options[option]));
    }
  }
  const std::string false_answer =
      flip.false_answer.has_value()
          ? absl::StrCat("; the false universe says ",
                         McqLetter(*flip.false_answer))
          : "";
  return absl::StrCat(
      text,
      Indented(absl::StrCat("base ", McqLetter(flip.from), " -> adapter ",
                            McqLetter(flip.to), "; correct ",
                            McqLetter(flip.correct), false_answer)),
      Indented(absl::StrFormat("p_correct %.3f -> %.3f, entropy %.3f -> %.3f",
                               flip.base_p_correct, flip.adapter_p_correct,
                               flip.base_entropy, flip.adapter_entropy)),
      "\n");
}

}  // namespace

std::string ShiftAnalysis(const McqComparison& comparison,
                          absl::Span<const McqItem> items) {
  std::map<absl::string_view, const McqItem*> by_id;
  for (const McqItem& item : items) by_id[item.id] = &item;
  std::string text = absl::StrCat(Header(comparison), GroupTable(comparison),
                                  FalseBeliefTable(comparison),
                                  "Flips: ", comparison.flips.size(), " of ",
                                  comparison.base.overall.question_count,
                                  " questions are answered differently\n\n");
  for (const McqFlip& flip : comparison.flips) {
    const auto it = by_id.find(flip.id);
    text += FlipText(flip, it == by_id.end() ? nullptr : it->second);
  }
  return text;
}

}  // namespace dissonance
