// Seeded order, the same on every machine. Thread safe.
//
//   for (const int64_t i : ShuffledIndices(rows.size(), Mix(seed))) ...
#ifndef DISSONANCE_BASE_SHUFFLE_H_
#define DISSONANCE_BASE_SHUFFLE_H_

#include <cstdint>
#include <vector>

namespace dissonance {

// 0 to bound - 1, from a random number (Lemire 2019, without the rejection: the
// bias is below bound / 2^64). REQUIRES: bound > 0.
uint64_t BelowBound(uint64_t random, uint64_t bound);

// 0 .. count - 1 shuffled by Fisher and Yates' method: for i from count - 1
// down to 1, the numbers at i and floor(r (i + 1) / 2^64) change places, r the
// next of SplitMix64 begun with `key`.
std::vector<int64_t> ShuffledIndices(int64_t count, uint64_t key);

}  // namespace dissonance

#endif  // DISSONANCE_BASE_SHUFFLE_H_
