#include "src/base/shuffle.h"

#include <numeric>
#include <utility>

#include "absl/numeric/int128.h"
#include "src/base/mix.h"

namespace dissonance {
namespace {

// The step of SplitMix64's state.
constexpr uint64_t kGamma = 0x9E3779B97F4A7C15ULL;

}  // namespace

uint64_t BelowBound(uint64_t random, uint64_t bound) {
  return absl::Uint128High64(absl::uint128(random) * absl::uint128(bound));
}

std::vector<int64_t> ShuffledIndices(int64_t count, uint64_t key) {
  std::vector<int64_t> indices(static_cast<size_t>(count));
  std::iota(indices.begin(), indices.end(), 0);
  for (size_t i = indices.size(); i > 1; --i) {
    std::swap(indices[i - 1], indices[BelowBound(Mix(key), i)]);
    key += kGamma;
  }
  return indices;
}

}  // namespace dissonance
