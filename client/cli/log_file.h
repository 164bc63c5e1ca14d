// The end of a log file, and what is added to it. Thread safe.
#ifndef DISSONANCE_CLIENT_CLI_LOG_FILE_H_
#define DISSONANCE_CLIENT_CLI_LOG_FILE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance::cli {

// Lines and the offset of the byte behind them.
struct LogTail {
  std::string text;
  int64_t end_byte = 0;
};

// The last `line_count` lines at or after `from_byte`. NOT_FOUND if there is
// no such file.
absl::StatusOr<LogTail> LastLines(const std::string& path, int line_count,
                                  int64_t from_byte = 0);

// Size in bytes; 0 if there is no such file.
int64_t FileSize(const std::string& path);

// Calls `sink` with whatever is appended from `from_byte` on, for ever. A file
// that was replaced or cut is read from its beginning. Returns on an error.
absl::Status FollowFile(const std::string& path, int64_t from_byte,
                        const std::function<void(absl::string_view)>& sink);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_LOG_FILE_H_
