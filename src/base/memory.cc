#include "src/base/memory.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "src/base/file.h"

namespace dissonance {
namespace {

constexpr size_t kLongestFile = 1 << 20;
constexpr int64_t kKibibyte = 1024;

// A file under /proc or /sys, empty where it can't be read.
std::string Contents(const std::string& path) {
  return ReadFile(path, kLongestFile).value_or("");
}

std::optional<int64_t> Number(absl::string_view text) {
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value)) return std::nullopt;
  return value;
}

std::optional<int64_t> MemAvailable(const std::string& root) {
  const std::string file = Contents(absl::StrCat(root, "/proc/meminfo"));
  for (absl::string_view line : absl::StrSplit(file, '\n')) {
    if (!absl::ConsumePrefix(&line, "MemAvailable:")) continue;
    absl::ConsumeSuffix(&line, "kB");
    const std::optional<int64_t> kib = Number(line);
    if (kib.has_value()) return *kib * kKibibyte;
  }
  return std::nullopt;
}

// Pages of files, which the kernel gives up first, do not count as used.
std::optional<int64_t> LeftInGroup(const std::string& folder) {
  const std::optional<int64_t> limit =
      Number(Contents(absl::StrCat(folder, "/memory.max")));
  const std::optional<int64_t> used =
      Number(Contents(absl::StrCat(folder, "/memory.current")));
  if (!limit.has_value() || !used.has_value()) return std::nullopt;
  int64_t reclaimable = 0;
  const std::string stat = Contents(absl::StrCat(folder, "/memory.stat"));
  for (absl::string_view line : absl::StrSplit(stat, '\n')) {
    if (absl::ConsumePrefix(&line, "inactive_file ")) {
      reclaimable = Number(line).value_or(0);
    }
  }
  return *limit - *used + reclaimable;
}

}  // namespace

std::optional<int64_t> AvailableMemoryBytes(const std::string& root) {
  std::optional<int64_t> least = MemAvailable(root);
  // "0::/a/b": the group and all above it have limits.
  std::string group = Contents(absl::StrCat(root, "/proc/self/cgroup"));
  absl::string_view path = absl::StripAsciiWhitespace(group);
  if (!absl::ConsumePrefix(&path, "0::")) path = "/";
  while (true) {
    const std::optional<int64_t> left =
        LeftInGroup(absl::StrCat(root, "/sys/fs/cgroup", path));
    if (left.has_value()) least = std::min(least.value_or(*left), *left);
    if (path.size() <= 1) return least;
    path = path.substr(0, path.rfind('/'));
  }
}

absl::Status CheckMemory(absl::string_view what, int64_t needed_bytes,
                         const std::string& root) {
  const std::optional<int64_t> available = AvailableMemoryBytes(root);
  if (!available.has_value() || needed_bytes <= *available) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      what, " needs ", needed_bytes, " bytes of memory, ", *available,
      " are available; unload a model, or take a "
      "smaller one or a smaller dtype"));
}

}  // namespace dissonance
