// How fast an endpoint may be asked: so many requests and tokens a minute, by
// monotonic time. One thread at a time.
#ifndef DISSONANCE_LAB_LLM_PACE_H_
#define DISSONANCE_LAB_LLM_PACE_H_

#include <cstdint>

#include "absl/time/time.h"

namespace dissonance {

// A bucket that fills at `per_minute` and holds what comes in ten seconds, at
// least one. 0: no limit.
class Bucket {
 public:
  Bucket(double per_minute, absl::Duration now);

  // How long until something may be taken; zero: now. What is taken may be
  // more than there is: then the next has to wait for the rest.
  absl::Duration Wait(absl::Duration now) const;
  // Negative: gives back.
  void Take(double amount, absl::Duration now);

 private:
  double LevelAt(absl::Duration now) const;

  const double per_second_;
  const double most_;
  double level_;
  absl::Duration as_of_;
};

// Both limits.
class Pace {
 public:
  Pace(double requests_per_minute, double tokens_per_minute, absl::Duration now)
      : requests_(requests_per_minute, now), tokens_(tokens_per_minute, now) {}

  absl::Duration Wait(absl::Duration now) const;
  // A request of about so many tokens begins.
  void Begin(int64_t tokens, absl::Duration now);
  // It took so many more, or fewer, than was thought.
  void Correct(int64_t more, absl::Duration now);

 private:
  Bucket requests_;
  Bucket tokens_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_LLM_PACE_H_
