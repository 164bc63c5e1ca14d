// The points of a job's life at which a crash must lose nothing. A crash test
// iterates over kJobFailpoints; see src/base/failpoint.h.
#ifndef DISSONANCE_LAB_JOBS_FAILPOINTS_H_
#define DISSONANCE_LAB_JOBS_FAILPOINTS_H_

#include <array>
#include <string_view>

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
// | jobs.before_success | the kind is done, the job is RUNNING               |
// | jobs.succeeded      | SUCCEEDED is durable, watchers do not know         |
inline constexpr std::string_view kFailpointBeforeCreate = "jobs.before_create";
inline constexpr std::string_view kFailpointCreated = "jobs.created";
inline constexpr std::string_view kFailpointStarted = "jobs.started";
inline constexpr std::string_view kFailpointBeforeRecord = "jobs.before_record";
inline constexpr std::string_view kFailpointItemsRecorded =
    "jobs.items_recorded";
inline constexpr std::string_view kFailpointOutputWritten =
    "jobs.output_written";
inline constexpr std::string_view kFailpointOutputStored = "jobs.output_stored";
inline constexpr std::string_view kFailpointBeforeSuccess =
    "jobs.before_success";
inline constexpr std::string_view kFailpointSucceeded = "jobs.succeeded";

inline constexpr std::array kJobFailpoints = {
    kFailpointBeforeCreate, kFailpointCreated,       kFailpointStarted,
    kFailpointBeforeRecord, kFailpointItemsRecorded, kFailpointOutputWritten,
    kFailpointOutputStored, kFailpointBeforeSuccess, kFailpointSucceeded,
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_FAILPOINTS_H_
