// Texts that are nearly alike, by MinHash (Broder 1997): of each text the sets
// of five words in a row, 128 hashes, looked for in bands of 4. Pure; thread
// safe.
#ifndef DISSONANCE_LAB_DOCGEN_NEAR_DUPLICATES_H_
#define DISSONANCE_LAB_DOCGEN_NEAR_DUPLICATES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace dissonance {

struct NearDuplicate {
  size_t first = 0;  // of the texts, first < second
  size_t second = 0;
  double similarity = 0.0;  // estimate of the sets' Jaccard index
};

// Pairs whose estimate is at least `threshold`, ordered. Of texts that are all
// alike each is paired with the first of them only, so there are fewer pairs
// than texts. O(words) for the hashes, and O(texts) where few are alike.
std::vector<NearDuplicate> FindNearDuplicates(
    absl::Span<const std::string> texts, double threshold);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_NEAR_DUPLICATES_H_
