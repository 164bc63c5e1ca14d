#include "src/lab/judge/judge_summary.h"

#include <algorithm>
#include <cstdlib>
#include <tuple>
#include <utility>

namespace dissonance {
namespace {

using Rows = std::vector<const Judgement*>;

// The rows by what `name_of` says, in the order of its first appearance.
template <typename NameOf>
auto Grouped(const Rows& rows, const NameOf& name_of) {
  using Name = decltype(name_of(*rows.front()));
  std::vector<std::pair<Name, Rows>> groups;
  std::map<Name, size_t> places;
  for (const Judgement* row : rows) {
    const auto [at, is_new] = places.emplace(name_of(*row), groups.size());
    if (is_new) groups.emplace_back(at->first, Rows());
    groups[at->second].second.push_back(row);
  }
  return groups;
}

JudgeFigures FiguresOf(const Rows& rows) {
  JudgeFigures figures;
  figures.count = static_cast<int64_t>(rows.size());
  double confidence = 0;
  int64_t confidence_count = 0;
  int64_t doubt = 0;
  int64_t difficulty = 0;
  for (const Judgement* row : rows) {
    if (!row->verdict.has_value()) continue;
    const Verdict& verdict = *row->verdict;
    ++figures.judged_count;
    doubt += verdict.doubt_score();
    difficulty += verdict.difficulty_proxy();
    if (verdict.world.has_value()) {
      ++figures.verdict_counts.at(static_cast<size_t>(*verdict.world));
    }
    if (verdict.confidence.has_value()) {
      ++confidence_count;
      confidence += *verdict.confidence;
    }
  }
  if (confidence_count > 0) {
    figures.mean_confidence =
        confidence / static_cast<double>(confidence_count);
  }
  if (figures.judged_count > 0) {
    const auto n = static_cast<double>(figures.judged_count);
    figures.mean_doubt_score = static_cast<double>(doubt) / n;
    figures.mean_difficulty_proxy = static_cast<double>(difficulty) / n;
  }
  return figures;
}

VariantFigures FiguresOfVariant(const std::string& variant, const Rows& rows) {
  VariantFigures figures{.variant = variant, .all = FiguresOf(rows)};
  for (const auto& [category, own] :
       Grouped(rows, [](const Judgement& row) { return row.label.category; })) {
    figures.by_category[category] = FiguresOf(own);
  }
  return figures;
}

void AddPair(const Judgement& from, const Judgement& to, VariantShift& shift,
             int64_t& delta_sum) {
  if (!from.verdict.has_value() || !to.verdict.has_value()) {
    ++shift.error_pair_count;
    return;
  }
  ++shift.pair_count;
  DoubtShift pair{.id = to.label.id,
                  .sample = to.label.sample,
                  .category = to.label.category,
                  .from = *from.verdict,
                  .to = *to.verdict};
  delta_sum += pair.delta();
  if (pair.from.world.has_value() && pair.to.world.has_value()) {
    ++shift.transitions.at(static_cast<size_t>(*pair.from.world))
          .at(static_cast<size_t>(*pair.to.world));
  }
  if (std::abs(pair.delta()) >= kLargeShift) {
    shift.large.push_back(std::move(pair));
  }
}

VariantShift ShiftOf(const std::pair<std::string, Rows>& baseline,
                     const std::pair<std::string, Rows>& variant) {
  VariantShift shift{.variant = variant.first, .baseline = baseline.first};
  std::map<std::pair<std::string, int64_t>, const Judgement*> partners;
  for (const Judgement* row : baseline.second) {
    partners[{row->label.id, row->label.sample}] = row;
  }
  int64_t delta_sum = 0;
  for (const Judgement* row : variant.second) {
    const auto partner = partners.find({row->label.id, row->label.sample});
    if (partner == partners.end()) {
      ++shift.single_count;
      continue;
    }
    AddPair(*partner->second, *row, shift, delta_sum);
    partners.erase(partner);
  }
  shift.single_count += static_cast<int64_t>(partners.size());
  std::stable_sort(shift.large.begin(), shift.large.end(),
                   [](const DoubtShift& a, const DoubtShift& b) {
                     return std::abs(a.delta()) > std::abs(b.delta());
                   });
  if (shift.pair_count > 0) {
    shift.mean_doubt_delta =
        static_cast<double>(delta_sum) / static_cast<double>(shift.pair_count);
  }
  return shift;
}

JudgePass PassOf(const std::string& judge, int64_t pass, const Rows& rows) {
  JudgePass figures{.judge = judge, .pass = pass};
  const auto variants =
      Grouped(rows, [](const Judgement& row) { return row.label.variant; });
  for (size_t i = 0; i < variants.size(); ++i) {
    figures.variants.push_back(
        FiguresOfVariant(variants[i].first, variants[i].second));
    if (i > 0) figures.shifts.push_back(ShiftOf(variants[0], variants[i]));
  }
  return figures;
}

PassAgreement AgreementOfPasses(const Rows& first, const Rows& second) {
  const auto key = [](const Judgement& row) {
    return std::tuple(row.label.variant, row.label.id, row.label.sample);
  };
  std::map<std::tuple<std::string, std::string, int64_t>, const Judgement*>
      partners;
  for (const Judgement* row : first) partners[key(*row)] = row;
  PassAgreement agreement;
  std::vector<std::pair<Verdict, Verdict>> pairs;
  for (const Judgement* row : second) {
    const auto partner = partners.find(key(*row));
    if (partner == partners.end()) continue;
    if (!partner->second->verdict.has_value() || !row->verdict.has_value()) {
      ++agreement.error_pair_count;
      continue;
    }
    pairs.emplace_back(*partner->second->verdict, *row->verdict);
  }
  agreement.agreement = AgreementOf(pairs);
  return agreement;
}

}  // namespace

JudgeSummary SummarizeJudgements(const Judgements& judgements) {
  JudgeSummary summary{.names_world = judgements.names_world};
  Rows rows;
  for (const Judgement& row : judgements.rows) rows.push_back(&row);
  if (rows.empty()) return summary;
  const auto passes = Grouped(rows, [](const Judgement& row) {
    return std::pair(row.judge, row.pass);
  });
  for (size_t i = 0; i < passes.size(); ++i) {
    const auto& [name, own] = passes[i];
    summary.passes.push_back(PassOf(name.first, name.second, own));
    for (size_t k = 0; k < i; ++k) {
      PassAgreement agreement = AgreementOfPasses(passes[k].second, own);
      agreement.first = k;
      agreement.second = i;
      summary.agreements.push_back(std::move(agreement));
    }
  }
  return summary;
}

}  // namespace dissonance
