// How a job's finished files are added to it, and listed in its manifest.
//
//   std::vector<JobFile> files = {{"map.csv", CsvFile(columns, rows)}};
//   RETURN_IF_ERROR(AddFiles(job, files, manifest));
#ifndef DISSONANCE_LAB_JOBS_JOB_FILES_H_
#define DISSONANCE_LAB_JOBS_JOB_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"
#include "src/lab/jobs/job_context.h"

namespace dissonance {

// A finished file.
struct JobFile {
  std::string name;
  std::string contents;
};

// Adds the files, then manifest.json: `manifest` with the digests of the files
// under "files" and the job under "run", which alone differs between two runs
// of the same job.
absl::Status AddFiles(JobContext& job, absl::Span<const JobFile> files,
                      nlohmann::json manifest);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_FILES_H_
