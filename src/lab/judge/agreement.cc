#include "src/lab/judge/agreement.h"

#include <array>
#include <cstddef>
#include <cstdlib>

namespace dissonance {
namespace {

using Pairs = absl::Span<const std::pair<Verdict, Verdict>>;

void AddVerdictAgreement(Pairs pairs, Agreement& agreement) {
  std::array<int64_t, kWorlds.size()> of_first = {};
  std::array<int64_t, kWorlds.size()> of_second = {};
  int64_t same = 0;
  for (const auto& [first, second] : pairs) {
    if (!first.world.has_value() || !second.world.has_value()) {
      agreement.no_kappa_reason = "doubt alone was judged: no verdicts";
      return;
    }
    ++of_first.at(static_cast<size_t>(*first.world));
    ++of_second.at(static_cast<size_t>(*second.world));
    same += *first.world == *second.world ? 1 : 0;
  }
  // In whole numbers, so that all or nothing is exactly that.
  const int64_t n = agreement.pair_count;
  int64_t expected = 0;  // times n * n
  for (size_t i = 0; i < kWorlds.size(); ++i) {
    expected += of_first.at(i) * of_second.at(i);
  }
  agreement.same_verdict_share =
      static_cast<double>(same) / static_cast<double>(n);
  if (expected == n * n) {
    agreement.no_kappa_reason =
        "both gave one and the same verdict each time: chance agrees as well";
    return;
  }
  agreement.kappa = static_cast<double>(same * n - expected) /
                    static_cast<double>(n * n - expected);
}

}  // namespace

Agreement AgreementOf(Pairs pairs) {
  Agreement agreement;
  agreement.pair_count = static_cast<int64_t>(pairs.size());
  if (pairs.empty()) {
    agreement.no_kappa_reason = "no answer was judged by both";
    return agreement;
  }
  AddVerdictAgreement(pairs, agreement);
  int64_t same = 0;
  int64_t difference = 0;
  for (const auto& [first, second] : pairs) {
    const int own = std::abs(first.doubt_score() - second.doubt_score());
    same += own == 0 ? 1 : 0;
    difference += own;
  }
  const auto n = static_cast<double>(pairs.size());
  agreement.same_doubt_share = static_cast<double>(same) / n;
  agreement.mean_doubt_difference = static_cast<double>(difference) / n;
  return agreement;
}

}  // namespace dissonance
