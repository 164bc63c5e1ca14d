// How far two judgements of the same answers agree. Pure; thread safe.
//
//   Agreement agreement = AgreementOf(pairs);
//   if (agreement.kappa.has_value()) ...
#ifndef DISSONANCE_LAB_JUDGE_AGREEMENT_H_
#define DISSONANCE_LAB_JUDGE_AGREEMENT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "src/lab/judge/verdict.h"

namespace dissonance {

struct Agreement {
  int64_t pair_count = 0;
  // Of verdicts. Unset where there are no pairs, or doubt alone was judged.
  std::optional<double> same_verdict_share = {};
  // Cohen's kappa, unweighted: (observed - expected) / (1 - expected), with
  // what is expected from how often each judge gives each verdict.
  std::optional<double> kappa = {};
  std::string no_kappa_reason = {};  // where it is unset
  // Of doubt scores. Unset where there are no pairs.
  std::optional<double> same_doubt_share = {};
  std::optional<double> mean_doubt_difference = {};  // absolute
};

// REQUIRES: of all verdicts either each names a world, or none does.
Agreement AgreementOf(absl::Span<const std::pair<Verdict, Verdict>> pairs);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JUDGE_AGREEMENT_H_
