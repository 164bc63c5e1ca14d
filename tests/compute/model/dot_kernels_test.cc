// Products and attention of few rows against the same in float64, for every
// vector unit that this processor has.
#include "src/compute/model/dot_kernels.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <c10/util/BFloat16.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "src/compute/model/row_attention.h"
#include "src/compute/model/row_product.h"
#include "tests/testing/random_tensor.h"

namespace dissonance {
namespace {

struct Unit {
  std::string name;
  const DotKernels* kernels;
};

void PrintTo(const Unit& unit, std::ostream* out) { *out << unit.name; }

std::vector<Unit> Units() {
  std::vector<Unit> units = {{"portable", &kPortableDotKernels}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    units.push_back({"avx2", &kAvx2DotKernels});
  }
  if (&BestDotKernels() == &kAvx512DotKernels) {
    units.push_back({"avx512", &kAvx512DotKernels});
  }
#endif
  return units;
}

class DotKernelsTest : public testing::TestWithParam<Unit> {
 protected:
  const DotKernels& kernels() const { return *GetParam().kernels; }

  // The outputs [begin, end) of x [rows, in] times weight [out, in].
  template <typename Weight, typename Wide>
  static at::Tensor Product(void (*multiply)(const RowProduct<Weight, Wide>&,
                                             int64_t, int64_t),
                            const at::Tensor& x, const at::Tensor& weight,
                            int64_t begin, int64_t end) {
    at::Tensor out = at::zeros({x.size(0), weight.size(0)}, x.options());
    multiply({.x = x.const_data_ptr<Wide>(),
              .x_stride = x.stride(0),
              .rows = x.size(0),
              .weight = static_cast<const Weight*>(weight.const_data_ptr()),
              .weight_stride = weight.stride(0),
              .in = x.size(1),
              .out = out.mutable_data_ptr<Wide>(),
              .out_stride = out.stride(0)},
             begin, end);
    return out.narrow(1, begin, end - begin);
  }
};

double Error(const at::Tensor& own, const at::Tensor& exact) {
  const at::Tensor wide = exact.to(at::kDouble);
  return ((own.to(at::kDouble) - wide).abs().max() / wide.abs().max())
      .item<double>();
}

// The narrowest lanes add 512 terms after each other, each rounded by half a
// unit at most: sqrt(512) halves in all, of 6e-8 or 1.1e-16.
constexpr double kSumError = 2e-6;
constexpr double kDoubleSumError = 4e-15;

TEST_P(DotKernelsTest, ProductsAreThoseOfFloat64) {
  for (const int64_t in : {1, 7, 16, 100, 577, 2048}) {
    const at::Tensor x = RandomTensor({7, in}, at::kFloat, 1);
    const at::Tensor weight = RandomTensor({37, in}, at::kFloat, 2);
    const at::Tensor exact =
        at::linear(x.to(at::kDouble), weight.to(at::kDouble));
    EXPECT_LE(Error(Product(kernels().multiply_f32, x, weight, 0, 37), exact),
              kSumError)
        << in;
    EXPECT_LE(Error(Product(kernels().multiply_f64, x.to(at::kDouble),
                            weight.to(at::kDouble), 0, 37),
                    exact),
              kDoubleSumError)
        << in;
    const at::Tensor rough = weight.to(at::kBFloat16);
    EXPECT_LE(Error(Product(kernels().multiply_bf16, x, rough, 0, 37),
                    at::linear(x.to(at::kDouble), rough.to(at::kDouble))),
              kSumError)
        << in;
  }
}

TEST_P(DotKernelsTest, ANumberDependsOnItsRowAndOutputOnly) {
  const at::Tensor x = RandomTensor({21, 577}, at::kFloat, 3);
  const at::Tensor weight = RandomTensor({37, 577}, at::kFloat, 4);
  const at::Tensor rough = weight.to(at::kBFloat16);
  const at::Tensor all = Product(kernels().multiply_f32, x, weight, 0, 37);
  const at::Tensor all_rough =
      Product(kernels().multiply_bf16, x, rough, 0, 37);
  for (int64_t row = 0; row < 21; ++row) {
    for (const int64_t count : {1, 2, 4, 6}) {
      if (row + count > 21) continue;
      const at::Tensor some = x.narrow(0, row, count);
      for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{
               {0, 37}, {3, 12}, {36, 37}}) {
        const auto of = [&, begin = begin, end = end](const at::Tensor& whole) {
          return whole.narrow(0, row, count).narrow(1, begin, end - begin);
        };
        EXPECT_TRUE(Product(kernels().multiply_f32, some, weight, begin, end)
                        .equal(of(all)));
        EXPECT_TRUE(Product(kernels().multiply_bf16, some, rough, begin, end)
                        .equal(of(all_rough)));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Units, DotKernelsTest, testing::ValuesIn(Units()),
                         [](const auto& info) { return info.param.name; });

class RowProductTest : public testing::TestWithParam<at::ScalarType> {};

TEST_P(RowProductTest, IsTheLibrarysWithinRounding) {
  const at::Tensor x = RandomTensor({5, 300}, GetParam(), 5);
  const at::Tensor weight = RandomTensor({130, 300}, GetParam(), 6);
  const at::Tensor bias = RandomTensor({130}, GetParam(), 7);
  at::Tensor out = RandomTensor({5, 150}, GetParam(), 8);
  const at::Tensor beside = out.narrow(1, 130, 20).clone();
  RowProductInto(out.narrow(1, 0, 130), x, weight, bias);
  const at::Tensor exact = at::linear(x.to(at::kDouble), weight.to(at::kDouble),
                                      bias.to(at::kDouble));
  const double tolerance = GetParam() == at::kBFloat16 ? 4e-3

                           : GetParam() == at::kFloat ? kSumError
                                                      : kDoubleSumError;
  EXPECT_LE(Error(out.narrow(1, 0, 130), exact), tolerance);
  EXPECT_TRUE(out.narrow(1, 130, 20).equal(beside));
}

TEST_P(RowProductTest, AttentionIsThatOfTheFormula) {
  const int64_t width = 72;
  const at::Tensor q = RandomTensor({3, 6, width}, GetParam(), 9);
  const at::Tensor keys = RandomTensor({50, 2, width}, GetParam(), 10);
  const at::Tensor values = RandomTensor({50, 2, width}, GetParam(), 11);
  const double tolerance = GetParam() == at::kBFloat16 ? 4e-3
                           : GetParam() == at::kFloat  ? 2e-6
                                                       : 1e-14;
  for (const double softcap : {0.0, 3.0}) {
    at::Tensor z = at::zeros({3, 6, width}, q.options());
    AttendRows({{.row = 0, .keys = keys, .values = values},
                {.row = 2,
                 .keys = keys.narrow(0, 13, 20),
                 .values = values.narrow(0, 13, 20)}},
               {.scale = 0.2, .softcap = softcap}, q, z);
    for (const int64_t head : {0, 2, 3, 5}) {
      const at::Tensor own = q.select(1, head).to(at::kDouble);
      const auto of = [head](const at::Tensor& x) {
        return x.select(1, head / 3).to(at::kDouble);
      };
      const auto expect = [&](int64_t row, int64_t begin, int64_t count) {
        at::Tensor scores =
            at::matmul(of(keys).narrow(0, begin, count), own[row]) * 0.2;
        if (softcap > 0) scores = at::tanh(scores / softcap) * softcap;
        const at::Tensor exact = at::matmul(at::softmax(scores, 0),
                                            of(values).narrow(0, begin, count));
        EXPECT_LE(Error(z[row][head], exact), tolerance);
      };
      expect(0, 0, 50);
      expect(2, 13, 20);
    }
    EXPECT_EQ(z[1].abs().max().item<double>(), 0.0);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, RowProductTest,
                         testing::Values(at::kFloat, at::kDouble,
                                         at::kBFloat16),
                         [](const auto& info) {
                           return std::string(c10::toString(info.param));
                         });

}  // namespace
}  // namespace dissonance
