#include "src/lab/llm/pace.h"

#include <algorithm>

namespace dissonance {
namespace {

constexpr double kHeldSeconds = 10;

}  // namespace

Bucket::Bucket(double per_minute, absl::Duration now)
    : per_second_(per_minute / 60),
      most_(std::max(per_second_ * kHeldSeconds, 1.0)),
      level_(most_),
      as_of_(now) {}

double Bucket::LevelAt(absl::Duration now) const {
  return std::min(level_ + absl::ToDoubleSeconds(now - as_of_) * per_second_,
                  most_);
}

absl::Duration Bucket::Wait(absl::Duration now) const {
  if (per_second_ <= 0) return absl::ZeroDuration();
  const double missing = std::min(1.0, most_) - LevelAt(now);
  return missing <= 0 ? absl::ZeroDuration()
                      : absl::Seconds(missing / per_second_);
}

void Bucket::Take(double amount, absl::Duration now) {
  level_ = std::min(LevelAt(now) - amount, most_);
  as_of_ = now;
}

absl::Duration Pace::Wait(absl::Duration now) const {
  return std::max(requests_.Wait(now), tokens_.Wait(now));
}

void Pace::Begin(int64_t tokens, absl::Duration now) {
  requests_.Take(1, now);
  tokens_.Take(static_cast<double>(tokens), now);
}

void Pace::Correct(int64_t more, absl::Duration now) {
  tokens_.Take(static_cast<double>(more), now);
}

}  // namespace dissonance
