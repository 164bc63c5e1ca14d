#include "src/lab/jobs/spec_difference.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

v1::JobSpec Spec() {
  v1::JobSpec spec;
  v1::EvaluateMcqSpec& mcq = *spec.mutable_evaluate_mcq();
  mcq.add_variants()->set_model("models/m");
  mcq.set_data("abc");
  mcq.set_seed(1);
  return spec;
}

TEST(DescribeDifference, IsEmptyForTheSameSpec) {
  EXPECT_EQ(DescribeDifference(Spec(), Spec()), "");
}

TEST(DescribeDifference, NamesFieldsAndValuesButNoData) {
  v1::JobSpec other = Spec();
  v1::EvaluateMcqSpec& mcq = *other.mutable_evaluate_mcq();
  mcq.set_seed(2);
  mcq.set_data("abcd");
  mcq.mutable_variants(0)->set_model("models/n");
  mcq.add_variants()->set_model("models/o");
  EXPECT_THAT(
      DescribeDifference(Spec(), other),
      AllOf(HasSubstr("evaluate_mcq.seed: 1 before, 2 now"),
            HasSubstr("evaluate_mcq.data: 3 bytes (sha256:"),
            HasSubstr("evaluate_mcq.variants[0].model: \"models/m\" before"),
            HasSubstr("evaluate_mcq.variants[1]: absent before"),
            Not(HasSubstr("abc\""))));
  EXPECT_THAT(DescribeDifference(other, Spec()),
              HasSubstr("variants[1]: model: \"models/o\" before, absent"));
}

TEST(DescribeDifference, StaysShort) {
  v1::JobSpec other = Spec();
  for (int i = 0; i < 100; ++i) {
    other.mutable_evaluate_mcq()->add_variants()->set_model(
        std::string(10000, 'x'));
  }
  const std::string text = DescribeDifference(Spec(), other);
  EXPECT_LT(text.size(), 1500U);
  EXPECT_THAT(text, HasSubstr("and 95 more"));
}

}  // namespace
}  // namespace dissonance
