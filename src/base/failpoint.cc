#include "src/base/failpoint.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace dissonance {
namespace {

struct Trigger {
  std::string name;
  int count = 1;
};

Trigger ReadEnvironment() {
  const char* value = std::getenv("DISSONANCE_FAILPOINT");
  if (value == nullptr) return {};
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(value, absl::MaxSplits(':', 1));
  Trigger trigger{.name = parts.first};
  if (!absl::SimpleAtoi(parts.second, &trigger.count)) trigger.count = 1;
  return trigger;
}

}  // namespace

void Failpoint(absl::string_view name) {
  static const Trigger trigger = ReadEnvironment();
  static std::atomic<int> reached = 0;
  if (name != trigger.name || trigger.name.empty()) return;
  if (++reached == trigger.count) std::raise(SIGKILL);
}

}  // namespace dissonance
