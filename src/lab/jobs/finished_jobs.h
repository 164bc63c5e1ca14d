// What a job may read of earlier ones of its kind's. The control plane
// implements it over its records; tests in memory. Implementations are thread
// safe.
//
//   ASSIGN_OR_RETURN(v1::Job job, jobs.Find("jobs/01J..."));
//   RETURN_IF_ERROR(jobs.ReadOutput(job, "base/metadata.jsonl", take));
#ifndef DISSONANCE_LAB_JOBS_FINISHED_JOBS_H_
#define DISSONANCE_LAB_JOBS_FINISHED_JOBS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.pb.h"

namespace dissonance {

class FinishedJobs {
 public:
  virtual ~FinishedJobs() = default;

  // The job with its data in place of artifacts. NOT_FOUND. Who may see it is
  // decided when a job that names it is created.
  virtual absl::StatusOr<v1::Job> Find(const std::string& name) = 0;

  // A whole output. NOT_FOUND; DATA_LOSS if its bytes are not those that were
  // stored.
  virtual absl::StatusOr<std::string> ReadOutput(
      const v1::Job& job, absl::string_view file_name) = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_FINISHED_JOBS_H_
