// Loops over rows against torch's calls.
#include "src/compute/probe/row_moments.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "tests/compute/probe/probe_testing.h"

namespace dissonance {
namespace {

// More rows and columns than are summed at once, and not a multiple.
constexpr int64_t kRows = 150;
constexpr int64_t kWidth = 70;

struct Given {
  at::Tensor rows;
  at::Tensor center;
  at::Tensor masks;  // [2, n]
};

Given Make(at::ScalarType dtype) {
  Given given;
  given.rows = MakeRows(kRows, kWidth, 3.0, 9).rows.to(dtype);
  given.center = given.rows[4].to(at::kDouble);
  given.masks = at::ones({2, kRows}, at::kDouble);
  given.masks[1] = (at::arange(kRows) % 3 != 0).to(at::kDouble);
  return given;
}

TEST(RowMoments, AreThoseOfTheMatrixProducts) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const Given given = Make(dtype);
    const RowMoments moments = MomentsOf(given.rows, given.center, given.masks);
    const at::Tensor own = given.rows.to(at::kDouble) - given.center;
    EXPECT_LE(MaxAbsDifference(moments.sums, given.masks.mm(own)), 1e-11);
    EXPECT_LE(MaxAbsDifference(moments.squares, given.masks.mm(own.square())),
              1e-11);
  }
}

TEST(RowMoments, ReadRowsThatDoNotLieSideBySide) {
  Given given = Make(at::kFloat);
  const RowMoments expected = MomentsOf(given.rows, given.center, given.masks);
  const at::Tensor turned = given.rows.t().contiguous().t();
  const RowMoments moments = MomentsOf(turned, given.center, given.masks);
  EXPECT_TRUE(moments.sums.equal(expected.sums));
  EXPECT_TRUE(moments.squares.equal(expected.squares));
}

TEST(ScaleRows, SubtractsAndDividesInFloat64) {
  for (const at::ScalarType from : {at::kFloat, at::kDouble}) {
    const Given given = Make(from);
    const at::Tensor spread = at::arange(1, kWidth + 1, at::kDouble);
    const at::Tensor expected =
        (given.rows.to(at::kDouble) - given.center) / spread;
    EXPECT_TRUE(ScaleRows(given.rows, given.center, spread, at::kDouble)
                    .equal(expected));
    if (from == at::kDouble) continue;
    EXPECT_TRUE(ScaleRows(given.rows, given.center, spread, at::kFloat)
                    .equal(expected.to(at::kFloat)));
  }
}

}  // namespace
}  // namespace dissonance
