#include "src/lab/jobs/queue_place.h"

#include <algorithm>

#include "google/protobuf/util/time_util.h"

namespace dissonance {
namespace {

constexpr double kMillisecondsPerSecond = 1000;

}  // namespace

int64_t QueuePosition(
    const std::string& owner, v1::JobPriority priority, int64_t older,
    const std::vector<QueueCount>& counts,
    absl::FunctionRef<double(const std::string& user)> decayed_seconds) {
  const double own = decayed_seconds(owner);
  int64_t ahead = older;
  for (const QueueCount& other : counts) {
    if (other.priority < priority) {
      ahead += other.count;
    } else if (other.priority == priority && other.owner != owner) {
      const bool goes_first = decayed_seconds(other.owner) < own;
      ahead += std::min(other.count, older + (goes_first ? 1 : 0));
    }
  }
  return ahead + 1;
}

void SetEstimatedRemaining(v1::Job& job) {
  const v1::Progress& progress = job.progress();
  if (job.state() != v1::JOB_STATE_RUNNING || progress.rate() <= 0) return;
  const double seconds =
      static_cast<double>(progress.total_count() - progress.done_count()) /
      progress.rate();
  *job.mutable_estimated_remaining() =
      google::protobuf::util::TimeUtil::MillisecondsToDuration(
          static_cast<int64_t>(seconds * kMillisecondsPerSecond));
}

}  // namespace dissonance
