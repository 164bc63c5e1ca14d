#include "tests/endurance/process_figures.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <iterator>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace dissonance {
namespace {

constexpr size_t kLimitBytes = 64 << 10;

// Empty if it is not there. Files of /proc have no size beforehand.
std::string ReadProc(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  std::string text(kLimitBytes, '\0');
  size_t size = 0;
  ssize_t got = 0;
  while (size < text.size() &&
         (got = ::read(fd, text.data() + size, text.size() - size)) > 0) {
    size += static_cast<size_t>(got);
  }
  ::close(fd);
  text.resize(size);
  return text;
}

// A number of /proc/PID/status, e.g. of "Threads:".
int64_t StatusField(absl::string_view status, absl::string_view name) {
  for (const absl::string_view line : absl::StrSplit(status, '\n')) {
    if (!absl::StartsWith(line, name)) continue;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    int64_t value = 0;
    if (words.size() > 1 && absl::SimpleAtoi(words[1], &value)) return value;
  }
  return 0;
}

}  // namespace

absl::StatusOr<ProcessFigures> FiguresOf(pid_t pid) {
  const std::string folder = absl::StrCat("/proc/", pid);
  const std::string status = ReadProc(folder + "/status");
  std::error_code error;
  const std::filesystem::directory_iterator handles(folder + "/fd", error);
  if (status.empty() || error) {
    return absl::NotFoundError(absl::StrCat("there is no process ", pid));
  }
  return ProcessFigures{
      .resident_bytes = StatusField(status, "VmRSS:") << 10,
      .handle_count = static_cast<int>(
          std::distance(begin(handles), std::filesystem::end(handles))),
      .thread_count = static_cast<int>(StatusField(status, "Threads:"))};
}

std::vector<pid_t> WorkersOn(const std::string& data_dir) {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc", error)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    const std::string line = ReadProc(entry.path().string() + "/cmdline");
    const std::string program = line.substr(0, line.find('\0'));
    if (absl::EndsWith(program, "/dissonance-worker") &&
        absl::StrContains(line, data_dir + "/")) {
      found.push_back(pid);
    }
  }
  return found;
}

}  // namespace dissonance
