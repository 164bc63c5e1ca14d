#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "src/lab/judge/judge_summary.h"

namespace dissonance {
namespace {

using Cells = std::vector<std::string>;

// Rows of as many cells each; the first `left_count` to the left.
std::string Aligned(const std::vector<Cells>& rows, size_t left_count) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const Cells& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const Cells& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - row[i].size(), ' ');
      absl::StrAppend(&line, i == 0 ? "" : "  ",
                      i < left_count ? absl::StrCat(row[i], space)
                                     : absl::StrCat(space, row[i]));
    }
    absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return text;
}

std::string Number(const std::optional<double>& number) {
  return number.has_value() ? absl::StrFormat("%.2f", *number) : "-";
}

std::string Percent(const std::optional<double>& share) {
  return share.has_value() ? absl::StrFormat("%.1f %%", *share * 100) : "-";
}

std::string NameOf(const JudgePass& pass) {
  return absl::StrCat(pass.judge, ", pass ", pass.pass);
}

Cells FigureCells(std::string variant, std::string category,
                  const JudgeFigures& figures, bool names_world) {
  Cells cells = {std::move(variant), std::move(category),
                 absl::StrCat(figures.count),
                 absl::StrCat(figures.count - figures.judged_count)};
  if (names_world) {
    for (const int64_t count : figures.verdict_counts) {
      std::optional<double> share;
      if (figures.judged_count > 0) {
        share = static_cast<double>(count) /
                static_cast<double>(figures.judged_count);
      }
      cells.push_back(Percent(share));
    }
    cells.push_back(Number(figures.mean_confidence));
  }
  cells.push_back(Number(figures.mean_doubt_score));
  cells.push_back(Number(figures.mean_difficulty_proxy));
  return cells;
}

std::string FigureTable(const JudgePass& pass, bool names_world) {
  Cells titles = {"VARIANT", "CATEGORY", "N", "ERRORS"};
  if (names_world) {
    titles.insert(titles.end(),
                  {"TRUE", "FALSE", "AMBIGUOUS", "UNSURE", "CONFIDENCE"});
  }
  titles.insert(titles.end(), {"DOUBT", "DIFFICULTY"});
  std::vector<Cells> rows = {std::move(titles)};
  for (const VariantFigures& variant : pass.variants) {
    rows.push_back(
        FigureCells(variant.variant, "all", variant.all, names_world));
    for (const auto& [category, figures] : variant.by_category) {
      if (category.empty() && variant.by_category.size() == 1) continue;
      rows.push_back(FigureCells("", category.empty() ? "(none)" : category,
                                 figures, names_world));
    }
  }
  return Aligned(rows, /*left_count=*/2);
}

std::string TransitionTable(const VariantShift& shift) {
  std::vector<Cells> rows;
  for (size_t from = 0; from < kWorlds.size(); ++from) {
    for (size_t to = 0; to < kWorlds.size(); ++to) {
      const int64_t count = shift.transitions.at(from).at(to);
      if (count == 0) continue;
      rows.push_back({absl::StrCat("  ", kWorlds.at(from)), "->",
                      kWorlds.at(to), absl::StrCat(count)});
    }
  }
  return rows.empty() ? "" : absl::StrCat("verdicts\n", Aligned(rows, 3));
}

std::string LargeTable(const VariantShift& shift, size_t most_listed) {
  std::vector<Cells> rows;
  for (const DoubtShift& each : shift.large) {
    if (rows.size() == most_listed) break;
    Cells cells = {
        absl::StrCat("  ", each.id), absl::StrCat("sample ", each.sample),
        absl::StrCat(each.from.doubt_score(), " -> ", each.to.doubt_score())};
    if (each.from.world.has_value() && each.to.world.has_value()) {
      cells.push_back(absl::StrCat(WorldName(*each.from.world), " -> ",
                                   WorldName(*each.to.world)));
    }
    cells.resize(4);  // without verdicts one less
    rows.push_back(std::move(cells));
  }
  if (rows.empty()) return "";
  std::string text = absl::StrCat("large shifts\n", Aligned(rows, 4));
  if (rows.size() < shift.large.size()) {
    absl::StrAppend(&text, "  and ", shift.large.size() - rows.size(),
                    " more in judge_summary.json\n");
  }
  return text;
}

std::string ShiftText(const VariantShift& shift, size_t most_listed) {
  std::string text = absl::StrCat("\n", shift.variant, " against ",
                                  shift.baseline, ": ", shift.pair_count,
                                  shift.pair_count == 1 ? " pair" : " pairs");
  if (shift.mean_doubt_delta.has_value()) {
    absl::StrAppendFormat(
        &text, ", doubt score %+.2f on average, by %d or more in %d",
        *shift.mean_doubt_delta, kLargeShift, shift.large.size());
  }
  text += "\n";
  if (shift.error_pair_count + shift.single_count > 0) {
    absl::StrAppend(&text, "left out: ", shift.error_pair_count,
                    " with an error on one side, ", shift.single_count,
                    " without a partner\n");
  }
  return absl::StrCat(text, TransitionTable(shift),
                      LargeTable(shift, most_listed));
}

std::string AgreementText(const JudgeSummary& summary,
                          const PassAgreement& each) {
  const Agreement& agreement = each.agreement;
  std::string text = absl::StrCat(
      "\n", NameOf(summary.passes.at(each.first)), " and ",
      NameOf(summary.passes.at(each.second)), ": ", agreement.pair_count,
      " answers judged by "
      "both\n");
  if (each.error_pair_count > 0) {
    absl::StrAppend(&text, "left out: ", each.error_pair_count,
                    " with an error on one side\n");
  }
  if (summary.names_world) {
    absl::StrAppend(&text, "same verdict ",
                    Percent(agreement.same_verdict_share), ", kappa ",
                    Number(agreement.kappa));
    if (!agreement.kappa.has_value()) {
      absl::StrAppend(&text, " (", agreement.no_kappa_reason, ")");
    }
    text += "\n";
  }
  return absl::StrCat(text, "same doubt score ",
                      Percent(agreement.same_doubt_share), ", apart by ",
                      Number(agreement.mean_doubt_difference), " on average\n");
}

}  // namespace

std::string JudgeReport(const JudgeSummary& summary, size_t most_listed) {
  std::string text;
  for (const JudgePass& pass : summary.passes) {
    absl::StrAppend(&text, text.empty() ? "" : "\n", NameOf(pass), "\n\n",
                    FigureTable(pass, summary.names_world));
    for (const VariantShift& shift : pass.shifts) {
      absl::StrAppend(&text, ShiftText(shift, most_listed));
    }
  }
  for (const PassAgreement& agreement : summary.agreements) {
    absl::StrAppend(&text, AgreementText(summary, agreement));
  }
  return text;
}

}  // namespace dissonance
