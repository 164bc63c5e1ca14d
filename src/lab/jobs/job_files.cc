#include "src/lab/jobs/job_files.h"

#include <utility>

#include "absl/strings/string_view.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/files/json_document.h"
#include "src/lab/files/row_files.h"

namespace dissonance {
namespace {

constexpr absl::string_view kManifestName = "manifest.json";

}  // namespace

absl::Status AddFiles(JobContext& job, absl::Span<const JobFile> files,
                      nlohmann::json manifest) {
  nlohmann::json digests = nlohmann::json::object();
  for (const JobFile& file : files) {
    RETURN_IF_ERROR(job.AddOutput(file.name, MediaTypeOf(file.name),
                                  file.contents, OutputKind::kResult));
    digests[file.name] = {{"sha256", Sha256Of(file.contents)},
                          {"size_bytes", file.contents.size()}};
  }
  manifest["files"] = std::move(digests);
  manifest["run"] = {{"job", job.job().name()},
                     {"request_id", job.job().request_id()}};
  return job.AddOutput(kManifestName, MediaTypeOf(kManifestName),
                       JsonDocument(manifest), OutputKind::kNamesRun);
}

}  // namespace dissonance
