// Files of jobs inside the network: rows as CSV and JSON lines, manifests, and
// how finished files are added to the job. Pure but for the latter; thread
// safe.
//
//   std::vector<JobFile> files = {{"map.csv", CsvFile(columns, rows)}};
//   RETURN_IF_ERROR(AddFiles(job, files, manifest));
#ifndef DISSONANCE_LAB_INTERP_JOB_FILES_H_
#define DISSONANCE_LAB_INTERP_JOB_FILES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "dissonance/v1/common.pb.h"
#include "nlohmann/json.hpp"
#include "src/lab/eval/mcq_metrics.h"
#include "src/lab/jobs/job_context.h"

namespace dissonance {

// A finished file.
struct JobFile {
  std::string name;
  std::string contents;
};

// The named fields of each row, which are numbers, texts, booleans or null
// (an empty cell; so is a number that is not finite), under their names
// (RFC 4180, but with LF).
std::string CsvFile(absl::Span<const std::string> columns,
                    absl::Span<const nlohmann::json> rows);

// One line a row.
std::string LinesFile(absl::Span<const nlohmann::json> rows);

// [low, high].
nlohmann::json IntervalJson(const Interval& interval);

// A variant, with its interventions but without their vectors.
nlohmann::json VariantJson(const v1::Variant& variant,
                           const v1::Provenance& provenance);

// Adds the files, then manifest.json: `manifest` with the digests of the files
// under "files" and the job under "run", which alone differs between two runs
// of the same job.
absl::Status AddFiles(JobContext& job, absl::Span<const JobFile> files,
                      nlohmann::json manifest);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_JOB_FILES_H_
