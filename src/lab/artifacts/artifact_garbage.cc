#include "src/lab/artifacts/artifact_garbage.h"

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/artifacts/artifact_name.h"

namespace dissonance {
namespace {

void Add(const ArtifactTotals& more, ArtifactTotals& sum) {
  sum.count += more.count;
  sum.bytes += more.bytes;
}

// Whether a file's name is that of an AtomicFile which was not committed.
bool IsTemporary(absl::string_view name) {
  return name.size() > kArtifactHexLength &&
         IsArtifactHex(name.substr(0, kArtifactHexLength)) &&
         absl::StartsWith(name.substr(kArtifactHexLength), ".tmp.");
}

}  // namespace

absl::StatusOr<GarbageReport> ArtifactGarbage::Collect(
    const GarbagePolicy& policy, absl::Time now, bool dry_run) {
  const absl::MutexLock lock(&mutex_);
  GarbageReport report;
  ASSIGN_OR_RETURN(const ArtifactTotals before, index_.Totals());
  ASSIGN_OR_RETURN(report.removed,
                   CollectArtifacts(policy, now, before.bytes, dry_run));
  ASSIGN_OR_RETURN(report.leftovers,
                   CollectFiles(now - policy.min_age, dry_run));
  ASSIGN_OR_RETURN(const ArtifactTotals parts,
                   uploads_.RemoveOld(now, dry_run));
  Add(parts, report.leftovers);
  ASSIGN_OR_RETURN(report.kept, index_.Totals());
  if (dry_run) {
    report.kept.count -= report.removed.count;
    report.kept.bytes -= report.removed.bytes;
  }
  return report;
}

absl::StatusOr<ArtifactTotals> ArtifactGarbage::CollectArtifacts(
    const GarbagePolicy& policy, absl::Time now, int64_t total_bytes,
    bool dry_run) {
  const absl::Time stored_before = now - policy.min_age;
  ArtifactTotals removed;
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<UnnamedArtifact> batch,
                     index_.ListUnnamed(after, ArtifactIndex::kBatch));
    if (batch.empty()) return removed;
    after = batch.back().sequence;
    std::vector<UnnamedArtifact> old;
    for (const UnnamedArtifact& artifact : batch) {
      if (artifact.create_time < stored_before) old.push_back(artifact);
    }
    // What was stored again since counts for neither of the two limits.
    ASSIGN_OR_RETURN(old, store_.RemoveUnnamed(std::move(old), stored_before,
                                               /*dry_run=*/true));
    std::vector<UnnamedArtifact> chosen;
    int64_t left_bytes = total_bytes - removed.bytes;
    for (UnnamedArtifact& artifact : old) {
      const bool is_expired = now - artifact.create_time > policy.max_age;
      const bool is_excess =
          policy.max_total_bytes > 0 && left_bytes > policy.max_total_bytes;
      if (!is_expired && !is_excess) continue;
      left_bytes -= artifact.size_bytes;
      chosen.push_back(std::move(artifact));
    }
    ASSIGN_OR_RETURN(chosen, store_.RemoveUnnamed(std::move(chosen),
                                                  stored_before, dry_run));
    for (const UnnamedArtifact& artifact : chosen) {
      Add({.count = 1, .bytes = artifact.size_bytes}, removed);
    }
  }
}

absl::StatusOr<ArtifactTotals> ArtifactGarbage::CollectFiles(
    absl::Time stored_before, bool dry_run) {
  ArtifactTotals removed;
  std::vector<std::string> files;
  const auto remove_batch = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const ArtifactTotals orphans,
                     store_.RemoveOrphans(files, stored_before, dry_run));
    Add(orphans, removed);
    files.clear();
    return absl::OkStatus();
  };
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator
           entry(store_.directory(), error),
       end;
       !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (IsArtifactHex(name) || IsTemporary(name)) files.push_back(name);
    if (files.size() == ArtifactIndex::kBatch) RETURN_IF_ERROR(remove_batch());
  }
  if (error) {
    return absl::ErrnoToStatus(
        error.value(), absl::StrCat("cannot list ", store_.directory()));
  }
  RETURN_IF_ERROR(remove_batch());
  return removed;
}

}  // namespace dissonance
