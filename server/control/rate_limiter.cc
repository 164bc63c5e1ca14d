#include "server/control/rate_limiter.h"

#include <algorithm>

namespace dissonance {
namespace {

// Beyond so many, those that are full again are forgotten.
constexpr size_t kManyBuckets = 10'000;

}  // namespace

absl::Duration RateLimiter::Take(absl::string_view token,
                                 double calls_per_second) {
  if (calls_per_second <= 0) return absl::ZeroDuration();
  const double most =
      std::max(1.0, calls_per_second * absl::ToDoubleSeconds(burst_));
  const absl::Duration now = clock_.Monotonic();
  const absl::MutexLock lock(&mutex_);
  if (buckets_.size() > kManyBuckets) {
    std::erase_if(buckets_, [&](const auto& entry) {
      return now >= entry.second.full_at;
    });
  }
  auto found = buckets_.find(token);
  if (found == buckets_.end()) {
    found = buckets_.emplace(std::string(token), Bucket{most, now, now}).first;
  }
  Bucket& bucket = found->second;
  bucket.calls =
      std::min(most, bucket.calls + absl::ToDoubleSeconds(now - bucket.as_of) *
                                        calls_per_second);
  bucket.as_of = now;
  const bool is_taken = bucket.calls >= 1;
  if (is_taken) bucket.calls -= 1;
  bucket.full_at =
      now + absl::Seconds((most - bucket.calls) / calls_per_second);
  if (is_taken) return absl::ZeroDuration();
  return absl::Seconds((1 - bucket.calls) / calls_per_second);
}

}  // namespace dissonance
