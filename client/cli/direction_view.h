// Directions as people and programs read them. Thread safe.
#ifndef DISSONANCE_CLIENT_CLI_DIRECTION_VIEW_H_
#define DISSONANCE_CLIENT_CLI_DIRECTION_VIEW_H_

#include "absl/types/span.h"
#include "client/cli/output.h"
#include "dissonance/v1/probes.pb.h"

namespace dissonance::cli {

// A line for each.
Table DirectionsTable(absl::Span<const v1::Direction> directions);
// All of one, a line for each of its places.
Table DirectionTable(const v1::Direction& direction);
// The cosines between all vectors; "-" between different widths.
Table CosineTable(const v1::CompareDirectionsResponse& compared);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_DIRECTION_VIEW_H_
