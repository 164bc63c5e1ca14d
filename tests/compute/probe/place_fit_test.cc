#include "src/compute/probe/place_fit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/CPUAllocator.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/compute/probe/fit_rows.h"
#include "tests/compute/probe/probe_testing.h"

namespace dissonance {
namespace {

using testing::HasSubstr;

nlohmann::json ProbeCases() {
  std::ifstream file(std::string(DISSONANCE_SOURCE_DIR) +
                     "/tests/compute/probe/probe_cases.json");
  EXPECT_TRUE(file.good());
  return nlohmann::json::parse(file);
}

at::Tensor MatrixOf(const nlohmann::json& rows) {
  std::vector<double> flat;
  for (const nlohmann::json& row : rows) {
    for (const double value : row) flat.push_back(value);
  }
  return at::tensor(flat, at::kDouble)
      .view({static_cast<int64_t>(rows.size()), -1});
}

// Counts what tensors on the host take, while it lives.
class CountedMemory final : public c10::Allocator {
 public:
  CountedMemory() : inner_(*c10::GetCPUAllocator()) {
    c10::SetCPUAllocator(this, kPriority);
  }
  ~CountedMemory() override { c10::SetCPUAllocator(&inner_, kPriority); }

  int64_t peak() const { return peak_; }

  c10::DataPtr allocate(size_t bytes) override {
    auto* block = new Block{inner_.allocate(bytes), bytes, this};
    now_ += static_cast<int64_t>(bytes);
    peak_ = std::max(peak_, now_);
    return {block->data.get(), block, &Release, at::kCPU};
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  static constexpr uint8_t kPriority = 100;
  struct Block {
    c10::DataPtr data;
    size_t bytes;
    CountedMemory* owner;
  };
  static void Release(void* context) {
    auto* block = static_cast<Block*>(context);
    block->owner->now_ -= static_cast<int64_t>(block->bytes);
    delete block;
  }

  c10::Allocator& inner_;
  int64_t now_ = 0;
  int64_t peak_ = 0;
};

// What a fit takes, beside its rows, and what was to be expected.
std::pair<int64_t, int64_t> BytesOf(const ProbeOptions& options,
                                    int64_t class_count, int64_t n,
                                    int64_t width) {
  MadeRows made = MakeRows(n, width, 2.0, 7);
  for (int64_t i = 0; i < n; ++i) {
    made.classes[static_cast<size_t>(i)] =
        static_cast<int32_t>(i % (class_count + 1)) - 1;  // some are left out
  }
  const auto plan = PlanFor(options, {.classes = made.classes});
  const CountedMemory memory;
  FitPlace(plan, {made.rows});
  return {memory.peak(), PlaceFit::Bytes(*plan, width)};
}

TEST(PlaceFit, TakesNoMoreMemoryThanItSaysAndSaysLittleMore) {
  ProbeOptions options;
  options.bootstrap_count = 0;
  for (const ProbeMethod method :
       {ProbeMethod::kLogistic, ProbeMethod::kMassMean, ProbeMethod::kLda}) {
    options.method = method;
    for (const auto& [n, width] : {std::pair<int64_t, int64_t>{60, 256},
                                   {300, 256},
                                   {3000, 16},
                                   {60, 4000}}) {
      const auto [taken, said] = BytesOf(options, 2, n, width);
      EXPECT_LE(taken, said) << n << " rows of " << width;
      EXPECT_LE(said, 8 * taken) << n << " rows of " << width;
      if (method != ProbeMethod::kLogistic) continue;
      const auto [softmax, said_of_it] = BytesOf(options, 4, n, width);
      EXPECT_LE(softmax, said_of_it) << n << " rows of " << width;
    }
  }
}

TEST(PlaceFit, FindsScikitLearnsMultinomialProbe) {
  const nlohmann::json cases = ProbeCases();
  ProbeOptions options = PlainOptions();
  options.fold_count = 3;
  options.fold_of_row = cases["folds"].get<std::vector<int32_t>>();
  options.tolerance = 1e-9;
  const at::Tensor rows = MatrixOf(cases["rows"]);
  const std::vector<FittedProbe> probes =
      FitPlace(PlanFor(options, {.classes = cases["classes"]}), {rows});
  const nlohmann::json& expected = cases["softmax"];
  EXPECT_LE(
      MaxAbsDifference(probes[0].weights.weight, MatrixOf(expected["coef"])),
      1e-6);
  for (size_t k = 0; k < 3; ++k) {
    EXPECT_NEAR(probes[0].weights.intercepts[k],
                expected["intercept"][k].get<double>(), 1e-6);
    EXPECT_NEAR(probes[0].auc->folds[k], expected["fold_aucs"][k].get<double>(),
                1e-9);
  }
  EXPECT_FALSE(probes[0].direction.defined());
}

TEST(PlaceFit, FindsScikitLearnsShrunkDiscriminant) {
  const nlohmann::json cases = ProbeCases();
  std::vector<int32_t> classes = cases["classes"];
  for (int32_t& own : classes) own = own < 2 ? own : -1;
  for (const double shrinkage : {0.1, 0.6}) {
    ProbeOptions options = PlainOptions();
    options.method = ProbeMethod::kLda;
    options.scale = false;
    options.shrinkage = shrinkage;
    options.tolerance = 1e-10;
    const FittedProbe probe = FitPlace(PlanFor(options, {.classes = classes}),
                                       {MatrixOf(cases["rows"])})[0];
    const nlohmann::json& expected =
        cases["lda"][shrinkage == 0.1 ? "0.1" : "0.6"];
    EXPECT_LE(MaxAbsDifference(
                  probe.weights.weight,
                  MatrixOf(nlohmann::json::array({expected["coef"]}))[0]),
              1e-6);
    EXPECT_NEAR(probe.weights.intercepts[0],
                expected["intercept"].get<double>(), 1e-6);
  }
}

TEST(PlaceFit, FindsTheMassMeanProbeOfTheGoldens) {
  const ProbeGolden golden = ReadProbeGolden("balanced");
  ProbeOptions options = PlainOptions();
  options.method = ProbeMethod::kMassMean;
  const FittedProbe probe =
      FitPlace(PlanFor(options, {.classes = golden.Classes("true")}),
               {golden.Tensor("X")})[0];
  EXPECT_LE(MaxAbsDifference(probe.direction, golden.Tensor("dom.unit")), 1e-6);
  const double middle =
      (golden.Tensor("dom.midpoint") * golden.Tensor("dom.direction"))
          .sum()
          .item<double>();
  EXPECT_NEAR(probe.direction_bias, -middle, 1e-4);
}

TEST(PlaceFit, MapsWeightsBackThroughTheScaler) {
  const MadeRows made = MakeRows(80, 6, 2.0, 1);
  const at::Tensor rows =
      made.rows * at::tensor(std::vector<float>{1, 10, 0.1F, 3, 7, 50}) + 5.0;
  const FittedProbe probe =
      FitPlace(PlanFor(PlainOptions(), {.classes = made.classes}), {rows})[0];
  const at::Tensor exact = rows.to(at::kDouble);
  const at::Tensor scaled = (exact - probe.weights.mean) / probe.weights.scale;
  const at::Tensor expected =
      scaled.mv(probe.weights.weight) + probe.weights.intercepts[0];
  const at::Tensor along =
      exact.mv(probe.direction) * probe.direction_norm + probe.direction_bias;
  EXPECT_LE(MaxAbsDifference(along, expected), 1e-9);
  EXPECT_NEAR(probe.direction.norm().item<double>(), 1.0, 1e-12);
  EXPECT_NEAR(probe.residual_norm,
              exact.norm(2, at::IntArrayRef{1}).mean().item<double>(), 1e-9);
}

TEST(PlaceFit, CallsASignalOneAndNoiseNone) {
  const MadeRows signal = MakeRows(120, 20, 4.0, 2);
  const FittedProbe found =
      FitPlace(PlanFor({}, {.classes = signal.classes}), {signal.rows})[0];
  EXPECT_EQ(found.verdict, ProbeVerdict::kSignal);
  EXPECT_GT(found.auc->mean, 0.95);
  EXPECT_NEAR(*found.p_value, 1.0 / 21, 1e-12);
  EXPECT_NEAR(*found.dummy_auc_mean, 0.5, 0.1);
  EXPECT_GT(*found.split_auc, 0.9);
  EXPECT_LE(*found.auc->low, found.auc->mean);
  EXPECT_GE(*found.auc->high, found.auc->mean);
  const MadeRows noise = MakeRows(120, 20, 0.0, 3);
  EXPECT_EQ(FitPlace(PlanFor({}, {.classes = noise.classes}), {noise.rows})[0]
                .verdict,
            ProbeVerdict::kNone);
}

// Labels that say nothing: a verdict of SIGNAL must be no more frequent than
// its p-value allows, 5 of 100 and what chance adds (3 standard deviations).
TEST(PlaceFit, FindsNoMoreSignalInRandomLabelsThanItsPValueAllows) {
  int signals = 0;
  int small_p = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const MadeRows noise = MakeRows(60, 16, 0.0, 1000 + seed);
    ProbeOptions options;
    options.seed = seed;
    options.bootstrap_count = 0;
    const FittedProbe probe =
        FitPlace(PlanFor(options, {.classes = noise.classes}), {noise.rows})[0];
    signals += probe.verdict == ProbeVerdict::kSignal ? 1 : 0;
    small_p += *probe.p_value <= 0.05 ? 1 : 0;
  }
  EXPECT_LE(signals, 5);
  EXPECT_LE(small_p, 11);
}

// Wordings of one question lie close together and share its label, which says
// nothing: a probe that saw one wording knows the other.
TEST(PlaceFit, IsMisledByParaphrasesUnlessTheyAreGrouped) {
  constexpr int64_t kQuestions = 40;
  const MadeRows questions = MakeRows(kQuestions, 64, 0.0, 5);
  const MadeRows noise = MakeRows(4 * kQuestions, 64, 0.0, 6);
  at::Tensor rows = noise.rows * 0.2;
  std::vector<int32_t> classes;
  std::vector<std::string> groups;
  for (int64_t i = 0; i < 4 * kQuestions; ++i) {
    rows[i].add_(questions.rows[i / 4]);
    groups.push_back(absl::StrCat("q", i / 4));
    classes.push_back(questions.classes[static_cast<size_t>(i / 4)]);
  }
  const FittedProbe misled =
      FitPlace(PlanFor({}, {.classes = classes}), {rows})[0];
  const FittedProbe grouped =
      FitPlace(PlanFor({}, {.classes = classes}, groups), {rows})[0];
  EXPECT_GT(misled.auc->mean, 0.9);
  EXPECT_LT(grouped.auc->mean, 0.7);
  EXPECT_EQ(misled.verdict, ProbeVerdict::kSignal);
  EXPECT_EQ(grouped.verdict, ProbeVerdict::kNone);
}

TEST(PlaceFit, GivesAResultWithANoteWhereAllRowsAreEqual) {
  const FittedProbe probe =
      FitPlace(PlanFor({}, {.classes = MakeRows(30, 4, 0.0, 1).classes}),
               {at::ones({30, 4})})[0];
  EXPECT_THAT(probe.note, HasSubstr("all rows are equal"));
  EXPECT_DOUBLE_EQ(probe.auc->mean, 0.5);
  EXPECT_EQ(probe.verdict, ProbeVerdict::kNone);
  EXPECT_FALSE(probe.direction.defined());
}

TEST(PlaceFit, NamesTheRowThatIsNotFinite) {
  at::Tensor rows = MakeRows(30, 4, 0.0, 1).rows;
  const auto plan =
      PlanFor({}, {.classes = MakeRows(30, 4, 0.0, 1).classes}, {}, 2);
  at::Tensor broken = rows.clone();
  broken[7][2] = std::numeric_limits<float>::quiet_NaN();
  const auto fit = PlaceFit::Create(plan, {rows, broken});
  EXPECT_TRUE(absl::IsInvalidArgument(fit.status()));
  EXPECT_THAT(std::string(fit.status().message()),
              HasSubstr("variant 1: row 7 has a number that is not finite"));
}

TEST(PlaceFit, TransfersToTheOtherVariantsRowsOfTheSameFolds) {
  const MadeRows made = MakeRows(100, 8, 3.0, 9);
  ProbeOptions options = PlainOptions();
  options.transfer = true;
  const auto plan = PlanFor(options, {.classes = made.classes}, {}, 2);
  const std::vector<FittedProbe> same = FitPlace(plan, {made.rows, made.rows});
  ASSERT_EQ(same.size(), 2);
  ASSERT_EQ(same[0].transfers.size(), 1);
  EXPECT_EQ(same[0].transfers[0].variant, 1);
  for (size_t fold = 0; fold < 5; ++fold) {
    EXPECT_NEAR(same[0].transfers[0].auc.folds[fold], same[0].auc->folds[fold],
                1e-12);
  }
  const std::vector<FittedProbe> turned =
      FitPlace(plan, {made.rows, -made.rows});
  EXPECT_LT(turned[0].transfers[0].auc.mean, 0.2);
}

TEST(PlaceFit, GivesTheSameBesideMoreStrengthsOfThePenalty) {
  const MadeRows made = MakeRows(90, 30, 1.0, 11);
  ProbeOptions options = PlainOptions();
  options.tolerance = 1e-10;
  const FittedProbe alone =
      FitPlace(PlanFor(options, {.classes = made.classes}), {made.rows})[0];
  options.c_values = {10.0, 0.1, 0.001};
  const std::vector<FittedProbe> three =
      FitPlace(PlanFor(options, {.classes = made.classes}), {made.rows});
  ASSERT_EQ(three.size(), 3);
  EXPECT_EQ(three[1].c, 0.1);
  EXPECT_LE(MaxAbsDifference(three[1].weights.weight, alone.weights.weight),
            1e-8);
  EXPECT_LT(three[2].weights.weight.norm().item<double>(),
            three[0].weights.weight.norm().item<double>());
}

TEST(PlaceFit, IsTheSameInTheRowsSpan) {
  ASSERT_TRUE(PrefersSpan(60, 2000, 7, 107));
  ASSERT_FALSE(PrefersSpan(1000, 768, 7, 107));
  const MadeRows made = MakeRows(60, 2000, 6.0, 12);
  ProbeOptions options = PlainOptions();
  options.fold_of_row.resize(60);
  for (int32_t i = 0; i < 60; ++i) {
    options.fold_of_row[static_cast<size_t>(i)] = i / 2 % 5;
  }
  const FittedProbe plain =
      FitPlace(PlanFor(options, {.classes = made.classes}), {made.rows})[0];
  options.permutation_count = 100;
  const FittedProbe span =
      FitPlace(PlanFor(options, {.classes = made.classes}), {made.rows})[0];
  EXPECT_LE(MaxAbsDifference(span.weights.weight, plain.weights.weight),
            1e-4 * plain.weights.weight.abs().max().item<double>());
  EXPECT_LE(MaxAbsDifference(span.direction, plain.direction), 1e-4);
  for (size_t i = 0; i < 60; ++i) {
    EXPECT_NEAR(span.decisions[i], plain.decisions[i], 1e-4);
  }
}

TEST(PlaceFit, FitsValuesByRidgeRegression) {
  const MadeRows made = MakeRows(100, 10, 0.0, 13);
  ProbeOptions options;
  options.method = ProbeMethod::kRidge;
  std::vector<double> values(100);
  for (int64_t i = 0; i < 100; ++i) {
    values[static_cast<size_t>(i)] =
        3.0 * made.rows[i][2].item<double>() - made.rows[i][5].item<double>();
  }
  values[4] = std::numeric_limits<double>::quiet_NaN();
  const FittedProbe probe =
      FitPlace(PlanFor(options, {.values = values}), {made.rows})[0];
  EXPECT_FALSE(probe.auc.has_value());
  EXPECT_GT(probe.accuracy.mean, 0.9);
  EXPECT_LT(*probe.dummy_auc_mean, 0.2);
  EXPECT_EQ(probe.verdict, ProbeVerdict::kSignal);
  EXPECT_TRUE(std::isnan(probe.decisions[4]));
  EXPECT_EQ(probe.class_counts[0], 99);
}

}  // namespace
}  // namespace dissonance
