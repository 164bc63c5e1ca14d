#include "server/control/adapter_files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/lab/artifacts/artifact_name.h"

namespace dissonance {
namespace {

constexpr absl::string_view kConfigFile = "/adapter_config.json";
constexpr absl::string_view kWeightsFile = "/adapter_model.safetensors";
constexpr absl::string_view kTemporary = ".tmp.";

std::string FoldersIn(const std::string& data_dir) {
  return data_dir + "/adapters";
}

void Remove(const std::string& folder) {
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
}

// When it was last asked for; InfiniteFuture if it is not there.
absl::Time UseTime(const std::string& folder) {
  struct stat info {};
  if (::lstat(folder.c_str(), &info) != 0) return absl::InfiniteFuture();
  return absl::TimeFromTimespec(info.st_mtim);
}

absl::Status FolderError(absl::string_view what, const std::string& folder) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", what, " ", folder));
}

// The two files of an adapter, and the folder that is to hold them.
struct AdapterFiles {
  v1::Artifact config;
  v1::Artifact weights;
  std::string folder;
};

// Whether the file has the artifact's size.
bool IsThere(const std::string& path, const v1::Artifact& artifact) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
         info.st_size == artifact.size_bytes();
}

bool IsComplete(const AdapterFiles& files) {
  return IsThere(absl::StrCat(files.folder, kConfigFile), files.config) &&
         IsThere(absl::StrCat(files.folder, kWeightsFile), files.weights);
}

// Makes the folder under another name and moves it into its place.
absl::Status Make(ArtifactStore& artifacts, const AdapterFiles& files,
                  const Viewer& viewer) {
  std::string temporary = absl::StrCat(files.folder, kTemporary, "XXXXXX");
  if (::mkdtemp(temporary.data()) == nullptr) {
    return FolderError("make", temporary);
  }
  const absl::Cleanup remove = [&temporary] { Remove(temporary); };
  RETURN_IF_ERROR(artifacts.Export(files.config.name(), viewer,
                                   absl::StrCat(temporary, kConfigFile)));
  RETURN_IF_ERROR(artifacts.Export(files.weights.name(), viewer,
                                   absl::StrCat(temporary, kWeightsFile)));
  RETURN_IF_ERROR(SyncDirectory(temporary));
  if (::rename(temporary.c_str(), files.folder.c_str()) == 0) {
    return absl::OkStatus();
  }
  // Somebody else was as quick.
  if (IsComplete(files)) return absl::OkStatus();
  Remove(files.folder);
  if (::rename(temporary.c_str(), files.folder.c_str()) == 0) {
    return absl::OkStatus();
  }
  return FolderError("make", files.folder);
}

// The digits of the two artifacts whose folder it is; empty for another name.
std::pair<std::string, std::string> ParseFolderName(absl::string_view name) {
  if (name.size() != 2 * kArtifactHexLength + 1) return {};
  const absl::string_view config = name.substr(0, kArtifactHexLength);
  const absl::string_view weights = name.substr(kArtifactHexLength + 1);
  const bool is_ours = name[kArtifactHexLength] == '-' &&
                       IsArtifactHex(config) && IsArtifactHex(weights);
  if (!is_ours) return {};
  return {std::string(config), std::string(weights)};
}

// Out of its place first: whoever asks for it from then on makes a new one,
// and who asked before has changed its time.
void RemoveFolder(const std::string& folder, absl::Time made_before) {
  const std::string aside = absl::StrCat(folder, kTemporary, "removed");
  if (::rename(folder.c_str(), aside.c_str()) != 0) return;
  if (UseTime(aside) >= made_before &&
      ::rename(aside.c_str(), folder.c_str()) == 0) {
    return;
  }
  Remove(aside);
}

}  // namespace

absl::StatusOr<std::string> MakeAdapterFolder(
    ArtifactStore& artifacts, const std::string& data_dir,
    const v1::AdapterArtifacts& adapter, const Viewer& viewer) {
  AdapterFiles files;
  // Also where the folder is there: it may be somebody else's.
  ASSIGN_OR_RETURN(files.config, artifacts.Get(adapter.config(), viewer));
  ASSIGN_OR_RETURN(files.weights, artifacts.Get(adapter.weights(), viewer));
  RETURN_IF_ERROR(artifacts.Keep(adapter.config()));
  RETURN_IF_ERROR(artifacts.Keep(adapter.weights()));
  const std::string folders = FoldersIn(data_dir);
  files.folder = absl::StrCat(
      folders, "/", adapter.config().substr(kArtifactPrefix.size()), "-",
      adapter.weights().substr(kArtifactPrefix.size()));
  const bool is_kept = ::utimensat(AT_FDCWD, files.folder.c_str(), nullptr,
                                   AT_SYMLINK_NOFOLLOW) == 0;
  if (is_kept && IsComplete(files)) return files.folder;
  RETURN_IF_ERROR(MakeDirectories(folders));
  RETURN_IF_ERROR(Make(artifacts, files, viewer));
  RETURN_IF_ERROR(SyncDirectory(folders));
  RETURN_IF_ERROR(SyncDirectory(data_dir));
  return files.folder;
}

absl::Status RemoveUnusedAdapterFolders(ModelStore& models,
                                        const std::string& data_dir,
                                        absl::Time made_before) {
  const std::string folders = FoldersIn(data_dir);
  std::error_code error;
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(folders, error)) {
    names.push_back(entry.path().filename());
  }
  for (const std::string& name : names) {
    const std::string folder = absl::StrCat(folders, "/", name);
    if (UseTime(folder) >= made_before) continue;
    if (absl::StrContains(name, kTemporary)) {
      Remove(folder);
      continue;
    }
    const auto [config, weights] = ParseFolderName(name);
    if (config.empty()) continue;
    ASSIGN_OR_RETURN(
        const bool is_used,
        models.HasAdapterOf(absl::StrCat(kArtifactPrefix, config),
                            absl::StrCat(kArtifactPrefix, weights)));
    if (!is_used) RemoveFolder(folder, made_before);
  }
  return absl::OkStatus();
}

}  // namespace dissonance
