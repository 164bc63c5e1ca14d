// Directions in activation space, from folders that `dissonance activations`
// wrote. Pure but for reading files; thread safe.
//
//   ASSIGN_OR_RETURN(MeanRow a, ReadMeanRow("acts_a", "blocks.3.resid_post"));
//   ASSIGN_OR_RETURN(MeanRow b, ReadMeanRow("acts_b", "blocks.3.resid_post"));
//   ASSIGN_OR_RETURN(Direction direction, DifferenceOfMeans(a, b));
#ifndef DISSONANCE_CLIENT_CLI_DIRECTION_H_
#define DISSONANCE_CLIENT_CLI_DIRECTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// The rows of one place of a folder, put together in float64.
struct MeanRow {
  std::vector<double> mean;    // [width], flat where the site has heads
  std::vector<int64_t> shape;  // of a row
  int64_t row_count = 0;
  double mean_norm = 0;  // mean over the rows of each one's Euclidean length
  nlohmann::json manifest;
};

// NOT_FOUND for a folder without a manifest, which is none or not complete, or
// that does not hold the place; INVALID_ARGUMENT or DATA_LOSS for one whose
// files contradict each other.
absl::StatusOr<MeanRow> ReadMeanRow(const std::string& directory,
                                    const std::string& place);

struct Direction {
  std::vector<float> unit;     // length 1
  std::vector<int64_t> shape;  // of a row
  double difference_norm = 0;  // length before it was made 1
  double residual_norm = 0;    // mean length of the rows of both
};

// The unit vector from `minus`'s mean to `from`'s. FAILED_PRECONDITION if they
// come from different base models or both means are equal.
absl::StatusOr<Direction> DifferenceOfMeans(const MeanRow& from,
                                            const MeanRow& minus);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_DIRECTION_H_
