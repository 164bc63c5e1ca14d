// What judgements come to: by variant and category, from variant to variant,
// from judge to judge. Figures never mix judges or passes. Values; pure
// functions; thread safe.
//
//   ASSIGN_OR_RETURN(Judgements all, ReadJudgements(files));
//   const JudgeSummary summary = SummarizeJudgements(all);
//   std::cout << JudgeReport(summary);
#ifndef DISSONANCE_LAB_JUDGE_JUDGE_SUMMARY_H_
#define DISSONANCE_LAB_JUDGE_JUDGE_SUMMARY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/lab/judge/agreement.h"
#include "src/lab/judge/judgement.h"
#include "src/lab/judge/verdict.h"

namespace dissonance {

// Doubt scores that differ by so much have shifted largely.
inline constexpr int kLargeShift = 3;

// Of some judgements. Means are over those that gave a verdict, and unset
// where none did.
struct JudgeFigures {
  int64_t count = 0;
  int64_t judged_count = 0;  // the others are errors
  std::array<int64_t, kWorlds.size()> verdict_counts = {};
  std::optional<double> mean_confidence = {};
  std::optional<double> mean_doubt_score = {};
  std::optional<double> mean_difficulty_proxy = {};
};

struct VariantFigures {
  std::string variant = {};
  JudgeFigures all = {};
  std::map<std::string, JudgeFigures> by_category = {};  // "": not told
};

// One question, answered by two variants, both of which were judged.
struct DoubtShift {
  std::string id;
  int64_t sample = 0;
  std::string category = {};
  Verdict from = {};
  Verdict to = {};

  int delta() const { return to.doubt_score() - from.doubt_score(); }
};

// A variant against the first one, over answers to the same question and of
// the same sample.
struct VariantShift {
  std::string variant = {};
  std::string baseline = {};
  int64_t pair_count = 0;
  int64_t error_pair_count = 0;  // left out: one side is an error
  int64_t single_count = 0;      // left out: the other variant has no such one
  std::optional<double> mean_doubt_delta = {};
  std::vector<DoubtShift> large = {};  // the largest first
  // [from][to].
  std::array<std::array<int64_t, kWorlds.size()>, kWorlds.size()> transitions =
      {};
};

// One pass of one judge. Variants in the order of their first rows.
struct JudgePass {
  std::string judge = {};
  int64_t pass = 0;
  std::vector<VariantFigures> variants = {};
  std::vector<VariantShift> shifts = {};
};

// Of two passes, over the answers of all variants.
struct PassAgreement {
  size_t first = 0;  // in JudgeSummary::passes
  size_t second = 0;
  int64_t error_pair_count = 0;  // left out: one of both is an error
  Agreement agreement = {};
};

struct JudgeSummary {
  bool names_world = true;
  std::vector<JudgePass> passes = {};
  std::vector<PassAgreement> agreements = {};  // one for each pair of passes
};

JudgeSummary SummarizeJudgements(const Judgements& judgements);

// judge_summary.json: numbers that are not there are null.
std::string JudgeSummaryFile(const JudgeSummary& summary);

// judge_report.txt: tables for people, with at most so many large shifts of a
// variant.
std::string JudgeReport(
    const JudgeSummary& summary,
    size_t most_listed = std::numeric_limits<size_t>::max());

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JUDGE_JUDGE_SUMMARY_H_
