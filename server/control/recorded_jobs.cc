#include "server/control/recorded_jobs.h"

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/job_inputs.h"

namespace dissonance {

absl::StatusOr<v1::Job> RecordedJobs::Find(const std::string& name) {
  ASSIGN_OR_RETURN(StoredJob stored, jobs_.Get(name, JobStore::Spec::kFull));
  ASSIGN_OR_RETURN(*stored.job.mutable_spec(),
                   WithData(stored.job.spec(), artifacts_));
  return stored.job;
}

absl::StatusOr<std::string> RecordedJobs::ReadOutput(
    const v1::Job& job, absl::string_view file_name) {
  for (const v1::JobOutput& output : job.outputs()) {
    if (output.file_name() != file_name) continue;
    ASSIGN_OR_RETURN(const ArtifactReader reader,
                     artifacts_.Open(output.artifact()));
    return reader.Read(0, reader.artifact().size_bytes());
  }
  return absl::NotFoundError(
      absl::StrCat(job.name(), " has no file ", file_name));
}

}  // namespace dissonance
