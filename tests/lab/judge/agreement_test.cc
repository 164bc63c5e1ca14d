#include "src/lab/judge/agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace dissonance {
namespace {

using testing::HasSubstr;
using testing::Optional;
using Pairs = std::vector<std::pair<Verdict, Verdict>>;

Pairs Times(int count, World first, World second) {
  return Pairs(static_cast<size_t>(count),
               {Verdict{.world = first}, Verdict{.world = second}});
}

Agreement Of(const std::vector<Pairs>& groups) {
  Pairs all;
  for (const Pairs& group : groups) {
    all.insert(all.end(), group.begin(), group.end());
  }
  return AgreementOf(all);
}

// 20 and 15 alike, 10 and 5 not: observed 35/50; the first gives true 25 times
// of 50, the second 30: expected 0.5 * 0.6 + 0.5 * 0.4 = 0.5. So 0.2 / 0.5.
TEST(AgreementOf, GivesTheKappaThatIsWorkedOutByHand) {
  const Agreement agreement = Of({Times(20, World::kTrue, World::kTrue),
                                  Times(5, World::kTrue, World::kFalse),
                                  Times(10, World::kFalse, World::kTrue),
                                  Times(15, World::kFalse, World::kFalse)});
  EXPECT_EQ(agreement.pair_count, 50);
  EXPECT_THAT(agreement.same_verdict_share, Optional(0.7));
  EXPECT_THAT(agreement.kappa, Optional(0.4));
  EXPECT_EQ(agreement.no_kappa_reason, "");
}

// Observed 4/6; of the first 2, 2, 1, 1 and of the second 3, 1, 2, 0: expected
// (6 + 2 + 2 + 0) / 36. So (24 - 10) / (36 - 10).
TEST(AgreementOf, CountsAllFourVerdicts) {
  const Agreement agreement =
      Of({Times(2, World::kTrue, World::kTrue),
          Times(1, World::kFalse, World::kFalse),
          Times(1, World::kFalse, World::kTrue),
          Times(1, World::kAmbiguous, World::kAmbiguous),
          Times(1, World::kUnsure, World::kAmbiguous)});
  EXPECT_THAT(agreement.same_verdict_share, Optional(4.0 / 6));
  EXPECT_THAT(agreement.kappa, Optional((24.0 - 10) / (36 - 10)));
}

TEST(AgreementOf, IsExactWhereAllOrNothingIsAlike) {
  EXPECT_THAT(Of({Times(3, World::kTrue, World::kTrue),
                  Times(4, World::kUnsure, World::kUnsure)})
                  .kappa,
              Optional(1.0));
  EXPECT_THAT(Of({Times(3, World::kTrue, World::kFalse),
                  Times(3, World::kFalse, World::kTrue)})
                  .kappa,
              Optional(-1.0));
}

TEST(AgreementOf, AgreementByChanceAloneIsZero) {
  const Agreement agreement = Of({Times(1, World::kTrue, World::kTrue),
                                  Times(1, World::kTrue, World::kFalse),
                                  Times(1, World::kFalse, World::kTrue),
                                  Times(1, World::kFalse, World::kFalse)});
  EXPECT_THAT(agreement.same_verdict_share, Optional(0.5));
  EXPECT_THAT(agreement.kappa, Optional(0.0));
  // One judge says the same whatever it reads.
  EXPECT_THAT(Of({Times(2, World::kTrue, World::kTrue),
                  Times(2, World::kFalse, World::kTrue)})
                  .kappa,
              Optional(0.0));
}

TEST(AgreementOf, SaysWhyThereIsNoKappa) {
  const Agreement alike = Of({Times(5, World::kTrue, World::kTrue)});
  EXPECT_THAT(alike.same_verdict_share, Optional(1.0));
  EXPECT_FALSE(alike.kappa.has_value());
  EXPECT_THAT(alike.no_kappa_reason, HasSubstr("one and the same verdict"));
  const Agreement none = AgreementOf({});
  EXPECT_FALSE(none.kappa.has_value() || none.same_verdict_share.has_value() ||
               none.same_doubt_share.has_value() ||
               none.mean_doubt_difference.has_value());
  EXPECT_THAT(none.no_kappa_reason, HasSubstr("no answer was judged by both"));
}

TEST(AgreementOf, DoubtAloneIsComparedByScores) {
  const Pairs pairs = {
      {Verdict{.doubt = {1, 0, 0, 1}}, Verdict{.doubt = {0, 2, 0, 0}}},
      {Verdict{.doubt = {3, 3, 0, 0}}, Verdict{.doubt = {0, 0, 1, 0}}},
      {Verdict{.doubt = {0, 0, 0, 0}}, Verdict{.doubt = {0, 0, 1, 0}}},
      {Verdict{.doubt = {0, 0, 2, 0}}, Verdict{.doubt = {0, 0, 2, 0}}}};
  const Agreement agreement = AgreementOf(pairs);
  EXPECT_FALSE(agreement.kappa.has_value());
  EXPECT_THAT(agreement.no_kappa_reason, HasSubstr("no verdicts"));
  EXPECT_THAT(agreement.same_doubt_share, Optional(0.5));
  EXPECT_THAT(agreement.mean_doubt_difference, Optional(1.5));  // (5 + 1) / 4
}

}  // namespace
}  // namespace dissonance
