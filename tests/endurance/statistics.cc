#include "tests/endurance/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace dissonance {

double Percentile(std::vector<double> values, double fraction) {
  if (values.empty()) return 0.0;
  const double rank = std::ceil(fraction * static_cast<double>(values.size()));
  const auto at = std::clamp<std::ptrdiff_t>(
      static_cast<std::ptrdiff_t>(rank) - 1, 0,
      static_cast<std::ptrdiff_t>(values.size()) - 1);
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

double TheilSenSlope(absl::Span<const double> x, absl::Span<const double> y) {
  std::vector<double> slopes;
  for (size_t i = 0; i < x.size(); ++i) {
    for (size_t j = i + 1; j < x.size(); ++j) {
      if (x[i] != x[j]) slopes.push_back((y[j] - y[i]) / (x[j] - x[i]));
    }
  }
  return Percentile(std::move(slopes), 0.5);
}

}  // namespace dissonance
