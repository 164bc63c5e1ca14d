#include "src/base/digest_cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr uint64_t kLimitBytes = uint64_t{16} << 20;
// A file may change twice within one tick of its clock, and some file systems
// tick in seconds.
constexpr absl::Duration kSettled = absl::Seconds(3);

struct Stamp {
  std::string text;  // empty: unknown
  absl::Time changed;
};

Stamp StampOf(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return {};
  const absl::Time modified = absl::TimeFromTimespec(info.st_mtim);
  const absl::Time changed = absl::TimeFromTimespec(info.st_ctim);
  return {.text = absl::StrCat(info.st_dev, ":", info.st_ino, ":", info.st_size,
                               ":", absl::ToUnixNanos(modified), ":",
                               absl::ToUnixNanos(changed)),
          .changed = std::max(modified, changed)};
}

}  // namespace

DigestCache::DigestCache(std::string path, const Clock& clock)
    : path_(std::move(path)), clock_(clock) {
  const absl::StatusOr<std::string> text = ReadFile(path_, kLimitBytes);
  if (!text.ok()) return;
  const absl::StatusOr<nlohmann::json> json = ParseJson(*text, path_);
  if (!json.ok() || !json->is_object()) return;
  for (const auto& [name, entry] : json->items()) {
    if (!entry.is_object() || !entry.contains("stamp") ||
        !entry["stamp"].is_string() || !entry.contains("digest") ||
        !entry["digest"].is_string()) {
      continue;
    }
    entries_[name] = {.stamp = entry["stamp"], .digest = entry["digest"]};
  }
}

absl::StatusOr<std::string> DigestCache::DigestOf(
    int fd, const std::string& name,
    absl::FunctionRef<absl::StatusOr<std::string>()> compute) {
  const absl::Time start = clock_.Now();
  const Stamp before = StampOf(fd);
  {
    const absl::MutexLock lock(&mutex_);
    const auto known = entries_.find(name);
    if (known != entries_.end() && !before.text.empty() &&
        known->second.stamp == before.text) {
      return known->second.digest;
    }
  }
  ASSIGN_OR_RETURN(std::string digest, compute());
  const bool settled =
      before.changed + kSettled < start && StampOf(fd).text == before.text;
  if (settled && !before.text.empty()) {
    Keep(name, {.stamp = before.text, .digest = digest});
  }
  return digest;
}

void DigestCache::Keep(const std::string& name, Entry entry) {
  const absl::MutexLock lock(&mutex_);
  entries_[name] = std::move(entry);
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [file, kept] : entries_) {
    json[file] = {{"stamp", kept.stamp}, {"digest", kept.digest}};
  }
  // A cache that could not be written is only slower next time.
  WriteFileAtomically(path_, ToJsonLine(json), 0600).IgnoreError();
}

}  // namespace dissonance
