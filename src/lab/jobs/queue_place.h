// Where a job stands in the queue and when it ends. Estimates: shares move, and
// jobs come and go. Pure; thread safe.
#ifndef DISSONANCE_LAB_JOBS_QUEUE_PLACE_H_
#define DISSONANCE_LAB_JOBS_QUEUE_PLACE_H_

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/storage/job_queue.h"

namespace dissonance {

// The place, from 1, of a job of `owner` and `priority` before which `older`
// of his own are queued: all of higher priorities go first; users of the same
// take turns, those with less use than `owner` first.
int64_t QueuePosition(
    const std::string& owner, v1::JobPriority priority, int64_t older,
    const std::vector<QueueCount>& counts,
    absl::FunctionRef<double(const std::string& user)> decayed_seconds);

// How long a RUNNING job will go on by its rate; unset if that says nothing.
void SetEstimatedRemaining(v1::Job& job);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_QUEUE_PLACE_H_
