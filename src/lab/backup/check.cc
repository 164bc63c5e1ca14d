#include "src/lab/backup/check.h"

#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/backup/artifact_files.h"
#include "src/lab/storage/data_dir_lock.h"
#include "src/lab/storage/database_file.h"

namespace dissonance {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostOfAKind = 20;
constexpr absl::Duration kUploadLife = absl::Hours(24);
constexpr char kDatabaseAdvice[] =
    "restore a backup into a new folder (dissonanced restore); without one, "
    "salvage what can be read, on a copy: sqlite3 dissonance.db .recover";
constexpr char kGapAdvice[] =
    "part of the job's record is lost: replay or delete that job; if there are "
    "many, restore a backup";
constexpr char kFileAdvice[] =
    "its results can't be read: copy the file from a backup, store the same "
    "bytes again (dissonance artifacts put), or replay the job";
constexpr char kOrphanAdvice[] =
    "harmless, of a write that was interrupted, but takes space: "
    "dissonanced check --repair removes them";
constexpr char kUnknownAdvice[] =
    "this server did not make it: look at it, and move it elsewhere";

// What one walk over the files finds.
struct Files {
  std::map<std::string, fs::path> artifacts;  // by hex
  std::vector<fs::path> temporary;
  std::vector<fs::path> unknown;
};

bool IsHex(absl::string_view text, size_t length) {
  return text.size() == length &&
         text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

// AtomicFile's names while it writes.
bool IsTemporary(const fs::path& path) {
  return absl::StrContains(path.filename().native(), ".tmp.");
}

void WalkShard(const fs::path& shard, Files& files) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(shard, error)) {
    const std::string name = entry.path().filename();
    const bool regular = fs::is_regular_file(entry.symlink_status());
    if (regular && IsHex(name, 64) &&
        absl::StartsWith(name, shard.filename().native())) {
      files.artifacts.emplace(name, entry.path());
    } else if (regular && IsTemporary(entry.path())) {
      files.temporary.push_back(entry.path());
    } else {
      files.unknown.push_back(entry.path());
    }
  }
}

bool IsOld(const fs::path& path, absl::Time now) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 &&
         now - absl::TimeFromTimespec(info.st_mtim) > kUploadLife;
}

Files Walk(const fs::path& data_dir, absl::Time now) {
  Files files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(data_dir, error)) {
    if (fs::is_regular_file(entry.symlink_status()) &&
        IsTemporary(entry.path())) {
      files.temporary.push_back(entry.path());
    }
  }
  for (const auto& entry :
       fs::directory_iterator(data_dir / "artifacts", error)) {
    const std::string name = entry.path().filename();
    if (fs::is_directory(entry.symlink_status()) && IsHex(name, 2)) {
      WalkShard(entry.path(), files);
    } else if (IsTemporary(entry.path())) {
      files.temporary.push_back(entry.path());
    } else {
      files.unknown.push_back(entry.path());
    }
  }
  for (const auto& entry :
       fs::directory_iterator(data_dir / "uploads", error)) {
    if (fs::is_regular_file(entry.symlink_status()) &&
        IsOld(entry.path(), now)) {
      files.temporary.push_back(entry.path());
    }
  }
  return files;
}

class Check {
 public:
  explicit Check(const CheckOptions& options) : options_(options) {}

  absl::StatusOr<CheckReport> Run() {
    const std::string path = options_.data_dir + "/dissonance.db";
    ASSIGN_OR_RETURN(file_, DatabaseFile::Open(path));
    if (!CheckDatabase()) return std::move(report_);
    RETURN_IF_ERROR(CheckRecords());
    RETURN_IF_ERROR(CheckArtifacts());
    return std::move(report_);
  }

 private:
  void Add(std::string what, std::string advice) {
    report_.findings.push_back(
        {.what = std::move(what), .advice = std::move(advice)});
  }

  void AddAll(const std::vector<std::string>& lines, absl::string_view before,
              const char* advice) {
    for (const std::string& line : lines) {
      Add(absl::StrCat(before, line), advice);
    }
  }

  // Whether the records can be trusted enough to look further.
  bool CheckDatabase() {
    const absl::Status schema = file_->CheckSchema(/*allow_older=*/false);
    if (!schema.ok()) {
      // The message says what to do.
      Add(std::string(schema.message()), absl::IsDataLoss(schema)
                                             ? kDatabaseAdvice
                                             : "nothing else was checked");
      return false;
    }
    report_.schema_version = file_->SchemaVersion().value_or(0);
    const auto damage = file_->Damage(options_.quick);
    if (!damage.ok()) {
      Add(std::string(damage.status().message()), kDatabaseAdvice);
      return false;
    }
    AddAll(*damage, "the database is damaged: ", kDatabaseAdvice);
    return damage->empty();
  }

  absl::Status CheckRecords() {
    ASSIGN_OR_RETURN(const auto dangling, file_->DanglingRows());
    AddAll(dangling, "", kDatabaseAdvice);
    ASSIGN_OR_RETURN(const auto gaps, file_->Gaps());
    AddAll(gaps, "", kGapAdvice);
    return absl::OkStatus();
  }

  absl::Status CheckArtifacts() {
    ASSIGN_OR_RETURN(const std::vector<StoredArtifact> artifacts,
                     file_->Artifacts());
    Files files = Walk(options_.data_dir, options_.now);
    size_t bad = 0;
    for (const StoredArtifact& artifact : artifacts) {
      ASSIGN_OR_RETURN(const std::string hex, ArtifactHex(artifact.name));
      report_.artifact_count += 1;
      report_.artifact_bytes += artifact.size_bytes;
      const std::string wrong = WrongWith(artifact, files.artifacts, hex);
      files.artifacts.erase(hex);
      if (wrong.empty()) continue;
      if (++bad > kMostOfAKind) continue;
      ASSIGN_OR_RETURN(const auto names, file_->NamedBy(artifact.name));
      Add(absl::StrCat(artifact.name, " ", wrong,
                       names.empty() ? "" : "; named by ",
                       absl::StrJoin(names, ", ")),
          kFileAdvice);
    }
    if (bad > kMostOfAKind) {
      Add(absl::StrCat("so are ", bad - kMostOfAKind, " more artifacts"),
          kFileAdvice);
    }
    std::vector<fs::path> orphans;
    for (const auto& [hex, path] : files.artifacts) orphans.push_back(path);
    Leftover(orphans, "files without a record");
    Leftover(files.temporary, "temporary files");
    for (const fs::path& path : files.unknown) {
      Add(absl::StrCat(path.native(), " is no artifact"), kUnknownAdvice);
    }
    return absl::OkStatus();
  }

  // What is wrong with an artifact's file; empty if nothing is.
  std::string WrongWith(const StoredArtifact& artifact,
                        const std::map<std::string, fs::path>& files,
                        const std::string& hex) const {
    const auto found = files.find(hex);
    if (found == files.end()) return "has no file";
    std::error_code error;
    const uintmax_t size = fs::file_size(found->second, error);
    if (error) return absl::StrCat("can't be read: ", error.message());
    if (size != static_cast<uintmax_t>(artifact.size_bytes)) {
      return absl::StrCat("has ", size, " bytes instead of ",
                          artifact.size_bytes);
    }
    if (options_.quick) return "";
    const absl::StatusOr<std::string> digest = Sha256OfFile(found->second);
    if (!digest.ok()) return std::string(digest.status().message());
    const bool same = absl::StrCat("artifacts/", *digest) == artifact.name;
    return same ? "" : "no longer matches its digest";
  }

  // One finding for files that may go.
  void Leftover(const std::vector<fs::path>& paths, absl::string_view what) {
    if (paths.empty()) return;
    uintmax_t bytes = 0;
    size_t removed = 0;
    std::error_code error;
    for (const fs::path& path : paths) {
      const uintmax_t size = fs::file_size(path, error);
      if (!error) bytes += size;
      if (options_.repair && fs::remove(path, error)) ++removed;
    }
    Add(absl::StrCat(paths.size(), " ", what, ", ", bytes, " bytes, e.g. ",
                     paths.front().native()),
        kOrphanAdvice);
    report_.findings.back().repaired = removed == paths.size();
  }

  const CheckOptions options_;
  std::unique_ptr<DatabaseFile> file_;
  CheckReport report_;
};

}  // namespace

bool CheckReport::clean() const {
  return absl::c_all_of(
      findings, [](const Finding& finding) { return finding.repaired; });
}

absl::StatusOr<CheckReport> CheckDataDir(const CheckOptions& options) {
  std::error_code error;
  if (!fs::exists(options.data_dir + "/dissonance.db", error)) {
    return absl::NotFoundError(
        absl::StrCat("there is no database in ", options.data_dir,
                     ": name the data directory of a server with --data-dir"));
  }
  ASSIGN_OR_RETURN(const DataDirLock lock,
                   DataDirLock::Acquire(options.data_dir));
  return Check(options).Run();
}

}  // namespace dissonance
