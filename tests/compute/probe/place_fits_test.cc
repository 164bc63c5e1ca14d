#include "src/compute/probe/place_fits.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "src/compute/tensor/torch_status.h"
#include "tests/compute/probe/probe_testing.h"

namespace dissonance {
namespace {

using testing::HasSubstr;

// So large that torch shares out its calls to threads.
constexpr size_t kPlaces = 4;
constexpr int64_t kRows = 300;

// Torch's threads of this thread, for a while.
class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) {
    at::set_num_threads(count);
  }
  ~Threads() { at::set_num_threads(before_); }

 private:
  const int before_;
};

std::vector<at::Tensor> MakePlaces() {
  std::vector<at::Tensor> places;
  for (size_t place = 0; place < kPlaces; ++place) {
    const auto width = static_cast<int64_t>(120 + 8 * place);
    places.push_back(MakeRows(kRows, width, 1.0, 50 + place).rows);
  }
  return places;
}

std::shared_ptr<const ProbePlan> MakePlan() {
  ProbeOptions options;
  options.permutation_count = 2;
  options.bootstrap_count = 10;
  return PlanFor(options, {.classes = MakeRows(kRows, 1, 0.0, 1).classes});
}

PlaceFits FitsOf(const std::vector<at::Tensor>& places, int64_t at_once) {
  return {MakePlan(), places.size(),
          [&places](size_t place) {
            return std::vector<at::Tensor>{places[place]};
          },
          at_once};
}

absl::StatusOr<std::vector<FittedProbe>> Next(PlaceFits& fits) {
  while (fits.RunPiece()) {
  }
  return fits.Take();
}

void ExpectSameBits(const FittedProbe& a, const FittedProbe& b) {
  EXPECT_TRUE(a.weights.weight.equal(b.weights.weight));
  EXPECT_TRUE(a.weights.mean.equal(b.weights.mean));
  EXPECT_TRUE(a.weights.scale.equal(b.weights.scale));
  EXPECT_EQ(a.weights.intercepts, b.weights.intercepts);
  EXPECT_EQ(a.decisions, b.decisions);
  EXPECT_EQ(a.iterations, b.iterations);
  EXPECT_EQ(a.gradient_max, b.gradient_max);
  EXPECT_EQ(a.dummy_auc_mean, b.dummy_auc_mean);
  EXPECT_EQ(a.residual_norm, b.residual_norm);
}

TEST(PlaceFits, GivesTheSameBitsHoweverManyAreUnderWay) {
  const std::vector<at::Tensor> places = MakePlaces();
  std::vector<FittedProbe> alone;
  for (const at::Tensor& rows : places) {
    const Threads one(1);
    alone.push_back(FitPlace(MakePlan(), {rows})[0]);
  }
  for (const int threads : {1, 2, 3}) {
    for (const int64_t at_once : {1, 2, 3}) {
      const Threads own(threads);
      PlaceFits fits = FitsOf(places, at_once);
      for (size_t place = 0; place < kPlaces; ++place) {
        const auto probes = Next(fits);
        ASSERT_TRUE(probes.ok()) << probes.status();
        ExpectSameBits((*probes)[0], alone[place]);
      }
    }
  }
}

// As of a job that goes on where it was interrupted.
TEST(PlaceFits, GivesTheSameBitsWhereOnePlaceIsLeft) {
  const Threads two(2);
  std::vector<at::Tensor> places;
  for (const uint64_t seed : {60, 61}) {
    places.push_back(MakeRows(kRows, 768, 1.0, seed).rows);
  }
  PlaceFits both = FitsOf(places, 2);
  ASSERT_TRUE(Next(both).ok());
  const auto beside = Next(both);
  const std::vector<at::Tensor> left = {places[1]};
  PlaceFits alone = FitsOf(left, 1);
  const auto last = Next(alone);
  ASSERT_TRUE(beside.ok() && last.ok());
  ExpectSameBits((*beside)[0], (*last)[0]);
}

TEST(PlaceFits, ALargePlaceIsFittedByItself) {
  const Threads two(2);
  const int64_t width = 20'000;
  ASSERT_EQ(PlaceFits::AtOnce(*MakePlan(), width, at::kCPU), 1);
  std::vector<at::Tensor> places = MakePlaces();
  places.resize(3);
  places[1] = MakeRows(kRows, width, 1.0, 70).rows;
  PlaceFits fits = FitsOf(places, 2);
  for (const at::Tensor& rows : places) {
    const auto probes = Next(fits);
    ASSERT_TRUE(probes.ok()) << probes.status();
    EXPECT_EQ((*probes)[0].weights.mean.size(0), rows.size(1));
  }
}

TEST(PlaceFits, KeepsAnErrorForItsPlacesTurn) {
  std::vector<at::Tensor> places = MakePlaces();
  places[1][7][3] = std::numeric_limits<float>::infinity();
  PlaceFits fits = FitsOf(places, 3);
  EXPECT_TRUE(Next(fits).ok());
  EXPECT_THAT(std::string(Next(fits).status().message()), HasSubstr("row 7"));
  for (size_t place = 2; place < kPlaces; ++place) {
    EXPECT_TRUE(Next(fits).ok());
  }
}

TEST(PlaceFits, ThrowsOnTheCallersThread) {
  const Threads two(2);
  std::vector<at::Tensor> places = MakePlaces();
  places[1] = places[1].slice(0, 0, kRows / 2);  // there are labels for more
  PlaceFits fits = FitsOf(places, 2);
  EXPECT_FALSE(CatchTorch("fits", [&] { return Next(fits).status(); }).ok());
}

TEST(PlaceFits, AsksForRowsOnlyOfPlacesThatBegin) {
  const std::vector<at::Tensor> places = MakePlaces();
  std::vector<size_t> asked;
  PlaceFits fits(
      MakePlan(), kPlaces,
      [&](size_t place) {
        asked.push_back(place);
        return std::vector<at::Tensor>{places[place]};
      },
      2);
  ASSERT_TRUE(Next(fits).ok());
  EXPECT_THAT(asked, testing::ElementsAre(0, 1));
}

TEST(PlaceFits, TakesOneLargePlaceAtATimeOnTheCpu) {
  const Threads three(3);
  EXPECT_EQ(PlaceFits::AtOnce(*MakePlan(), 64, at::kCPU), 3);
  EXPECT_EQ(PlaceFits::AtOnce(*MakePlan(), 64, at::kCUDA), 3);
  EXPECT_EQ(PlaceFits::AtOnce(*MakePlan(), int64_t{1} << 20, at::kCPU), 1);
}

}  // namespace
}  // namespace dissonance
