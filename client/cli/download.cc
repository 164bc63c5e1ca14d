#include "client/cli/download.h"

#include <unistd.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "client/cli/errors.h"
#include "client/cli/names.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr int64_t kArtifactLimitBytes = int64_t{4} << 30;
constexpr char kManifest[] = "manifest.json";
constexpr uint64_t kManifestLimitBytes = 64 << 20;
constexpr int kAttempts = 5;
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(200);

// Appends what one stream gives after the bytes already held.
absl::Status ReadOn(Connection& connection, const std::string& name,
                    std::string& contents) {
  v1::ReadArtifactRequest request;
  request.set_name(name);
  request.set_offset_bytes(static_cast<int64_t>(contents.size()));
  const std::unique_ptr<grpc::ClientContext> context = connection.NewContext();
  const auto reader = connection.stub<v1::Artifacts::Stub>().ReadArtifact(
      context.get(), request);
  v1::ReadArtifactResponse piece;
  absl::Status wrong;
  while (wrong.ok() && reader->Read(&piece)) {
    if (piece.offset_bytes() != static_cast<int64_t>(contents.size())) {
      wrong = absl::DataLossError(
          absl::StrCat(name, ": expected bytes at offset ", contents.size(),
                       ", the server sent offset ", piece.offset_bytes()));
    } else if (contents.size() + piece.data().size() > kArtifactLimitBytes) {
      wrong = absl::ResourceExhaustedError(absl::StrCat(
          name, " is larger than ", HumanBytes(kArtifactLimitBytes),
          ", which is what this client holds; read it in ranges with "
          "ReadArtifact"));
    } else {
      contents += piece.data();
    }
  }
  if (!wrong.ok()) context->TryCancel();
  const grpc::Status end = reader->Finish();
  if (!wrong.ok()) return wrong;
  return connection.Explain(end);
}

bool IsPlain(absl::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         !absl::StrContains(name, '\0');
}

// A file name from a server must stay in the folder it is written to: a plain
// name, with one folder before it at most.
absl::Status CheckFileName(const std::string& file_name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(file_name, '/');
  if (parts.size() <= 2 && absl::c_all_of(parts, IsPlain)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the job names an output \"", file_name,
      "\", which is not a plain file name; nothing was written for it"));
}

}  // namespace

absl::StatusOr<std::string> DownloadArtifact(Connection& connection,
                                             const std::string& name) {
  std::string contents;
  absl::Duration backoff = kFirstBackoff;
  for (int attempt = 1;; ++attempt) {
    const absl::Status status = ReadOn(connection, name, contents);
    if (status.ok()) break;
    if (!absl::IsUnavailable(status) || attempt == kAttempts) return status;
    absl::SleepFor(backoff);
    backoff *= 2;
  }
  const std::string digest = Sha256Of(contents);
  if (digest != ShortName(name)) {
    return absl::DataLossError(
        absl::StrCat(name, ": the bytes received have the digest ", digest,
                     "; fetch it again, and if that repeats, the server's "
                     "copy is damaged"));
  }
  return contents;
}

absl::StatusOr<nlohmann::json> DownloadReport(Connection& connection,
                                              const v1::Job& job,
                                              const std::string& file_name) {
  const auto output = absl::c_find_if(
      job.outputs(),
      [&](const v1::JobOutput& each) { return each.file_name() == file_name; });
  if (output == job.outputs().end()) {
    return absl::DataLossError(
        absl::StrCat(job.name(), " has no ", file_name, " among its files"));
  }
  ASSIGN_OR_RETURN(const std::string text,
                   DownloadArtifact(connection, output->artifact()));
  ASSIGN_OR_RETURN(nlohmann::json report, ParseJson(text, file_name));
  if (report.is_object()) return report;
  return absl::DataLossError(
      absl::StrCat(file_name, " of ", job.name(), " is no JSON object"));
}

absl::Status PrepareFolder(const std::string& directory) {
  RETURN_IF_ERROR(MakeDirectories(directory));
  // As DownloadOutputs will do it; without Commit nothing is left behind.
  return AtomicFile::Create(absl::StrCat(directory, "/", kManifest)).status();
}

absl::StatusOr<ResultFolder> ResultFolder::Prepare(
    const std::string& directory) {
  const bool is_new = ::access(directory.c_str(), F_OK) != 0;
  RETURN_IF_ERROR(PrepareFolder(directory));
  return ResultFolder(is_new ? directory : "");
}

ResultFolder::~ResultFolder() {
  // Does nothing to one that has files.
  if (!made_.empty()) ::rmdir(made_.c_str());
}

ResultFolder::ResultFolder(ResultFolder&& other) noexcept
    : made_(std::exchange(other.made_, "")) {}

std::string JobOfResults(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kManifest);
  const absl::StatusOr<std::string> text = ReadFile(path, kManifestLimitBytes);
  if (!text.ok()) return "";
  const absl::StatusOr<nlohmann::json> manifest = ParseJson(*text, path);
  const nlohmann::json::json_pointer job("/run/job");
  if (!manifest.ok() || !manifest->contains(job)) return "";
  const nlohmann::json& name = manifest->at(job);
  return name.is_string() ? name.get<std::string>() : "";
}

absl::StatusOr<std::vector<std::string>> DownloadOutputs(
    Connection& connection, const v1::Job& job, const std::string& directory,
    const std::function<bool(const v1::JobOutput&)>& wanted) {
  for (const v1::JobOutput& output : job.outputs()) {
    RETURN_IF_ERROR(CheckFileName(output.file_name()));
  }
  RETURN_IF_ERROR(MakeDirectories(directory));
  std::vector<std::string> paths;
  for (const v1::JobOutput& output : job.outputs()) {
    if (wanted && !wanted(output)) continue;
    ASSIGN_OR_RETURN(const std::string contents,
                     DownloadArtifact(connection, output.artifact()));
    paths.push_back(absl::StrCat(directory, "/", output.file_name()));
    RETURN_IF_ERROR(
        MakeDirectories(paths.back().substr(0, paths.back().rfind('/'))));
    RETURN_IF_ERROR(WriteFileAtomically(paths.back(), contents));
  }
  return paths;
}

}  // namespace dissonance::cli
