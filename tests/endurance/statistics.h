// Summaries of measured values that a few outliers do not move. Thread safe.
#ifndef DISSONANCE_TESTS_ENDURANCE_STATISTICS_H_
#define DISSONANCE_TESTS_ENDURANCE_STATISTICS_H_

#include <vector>

#include "absl/types/span.h"

namespace dissonance {

// The smallest value that is not below a share of `fraction` of the values,
// 0 < fraction <= 1; 0.5: the median. 0 without values.
double Percentile(std::vector<double> values, double fraction);

// Median of the slopes of all pairs of points (Theil 1950, Sen 1968): a few
// outliers change nothing. 0 with fewer than two points.
double TheilSenSlope(absl::Span<const double> x, absl::Span<const double> y);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_STATISTICS_H_
