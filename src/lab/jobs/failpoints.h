// The points of a job's life at which a crash must lose nothing. A crash test
// iterates over kJobFailpoints; see src/base/failpoint.h.
#ifndef DISSONANCE_LAB_JOBS_FAILPOINTS_H_
#define DISSONANCE_LAB_JOBS_FAILPOINTS_H_

#include <array>

#include "absl/strings/string_view.h"

namespace dissonance {

// | name                | reached                                            |
// |---------------------|----------------------------------------------------|
// | jobs.before_create  | the spec is valid, nothing is stored               |
// | jobs.created        | the job is durable, not acknowledged               |
// | jobs.started        | RUNNING is durable, the kind has not begun         |
// | jobs.before_record  | items are computed, not recorded                   |
// | jobs.items_recorded | items are durable, the kind does not know          |
// | jobs.output_written | an artifact is durable, the job does not name it   |
// | jobs.output_stored  | the job names it, the kind does not know           |
// | jobs.output_removed | the job names it no more, the kind does not know   |
// | jobs.before_success | the kind is done, the job is RUNNING               |
// | jobs.succeeded      | SUCCEEDED is durable, watchers do not know         |
inline constexpr absl::string_view kFailpointBeforeCreate =
    "jobs.before_create";
inline constexpr absl::string_view kFailpointCreated = "jobs.created";
inline constexpr absl::string_view kFailpointStarted = "jobs.started";
inline constexpr absl::string_view kFailpointBeforeRecord =
    "jobs.before_record";
inline constexpr absl::string_view kFailpointItemsRecorded =
    "jobs.items_recorded";
inline constexpr absl::string_view kFailpointOutputWritten =
    "jobs.output_written";
inline constexpr absl::string_view kFailpointOutputStored =
    "jobs.output_stored";
inline constexpr absl::string_view kFailpointOutputRemoved =
    "jobs.output_removed";
inline constexpr absl::string_view kFailpointBeforeSuccess =
    "jobs.before_success";
inline constexpr absl::string_view kFailpointSucceeded = "jobs.succeeded";

inline constexpr std::array kJobFailpoints = {
    kFailpointBeforeCreate, kFailpointCreated,       kFailpointStarted,
    kFailpointBeforeRecord, kFailpointItemsRecorded, kFailpointOutputWritten,
    kFailpointOutputStored, kFailpointBeforeSuccess, kFailpointSucceeded,
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_FAILPOINTS_H_
