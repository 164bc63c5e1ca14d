// The log: one line an event on standard error, as text or as JSON.
//
//   text  2026-01-01T00:00:00.000+00:00 info job ended job=jobs/01J state=DONE
//   json  {"time":"2026-01-01T00:00:00.000+00:00","level":"info",
//          "message":"job ended","job":"jobs/01J","state":"DONE"}   (one line)
//
// A line stays one line, and UTF-8, whatever is in it. Calls of spdlog itself,
// spdlog::info("...") and so on, come out in the same formats, without fields.
// Never log a token, a prompt or a document: names, counts and codes only.
// Thread safe.
//
//   StartLog({.format = LogFormat::kJson, .level = "info"});
//   Log(LogLevel::kInfo, "job ended", {{"job", job.name()}, {"items", 17}});
#ifndef DISSONANCE_BASE_LOG_H_
#define DISSONANCE_BASE_LOG_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace dissonance {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct LogOptions {
  LogFormat format = LogFormat::kText;
  // "debug", "info", "warning" or "error": the least that is written.
  std::string level = "info";
};

// One thing that the event is about. Names are lower-case words with '_', other
// than time, level and message.
struct LogField {
  absl::string_view name;
  std::variant<absl::string_view, int64_t, double> value;
};

// Sends everything to standard error in this format. Call once, at the start;
// before it, lines are spdlog's own.
void StartLog(const LogOptions& options);

// Writes a line, if `level` is high enough.
void Log(LogLevel level, absl::string_view message,
         std::initializer_list<LogField> fields = {});

// The line, with its "\n". In text a value is quoted, with \" and \\, if it is
// empty or holds spaces, quotes or '='; control characters are written \n or
// \x1b in both formats' own way, and bytes that are not UTF-8 become U+FFFD.
std::string FormatLogLine(LogFormat format, absl::Time time,
                          absl::string_view level, absl::string_view message,
                          absl::Span<const LogField> fields);

}  // namespace dissonance

#endif  // DISSONANCE_BASE_LOG_H_
