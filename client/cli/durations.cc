#include "client/cli/durations.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace dissonance::cli {
namespace {

constexpr absl::string_view kUnits = "dhms";
constexpr int64_t kUnitSeconds[] = {86400, 3600, 60, 1};
constexpr int64_t kLongestSeconds = int64_t{36500} * 86400;

absl::Status NotASpan(const std::string& text) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", text,
                   "' is no span of time; write a number with d, h, m or s, "
                   "as in 30d, 12h or 1d12h"));
}

}  // namespace

absl::StatusOr<absl::Duration> ParseSpan(const std::string& text) {
  absl::string_view rest = text;
  size_t next_unit = 0;
  int64_t seconds = 0;
  do {
    size_t digits = 0;
    while (digits < rest.size() && absl::ascii_isdigit(rest[digits])) ++digits;
    if (digits == 0 || digits == rest.size()) return NotASpan(text);
    const size_t unit = kUnits.find(rest[digits]);
    if (unit == absl::string_view::npos || unit < next_unit) {
      return NotASpan(text);
    }
    int64_t count = 0;
    if (!absl::SimpleAtoi(rest.substr(0, digits), &count) ||
        count > (kLongestSeconds - seconds) / kUnitSeconds[unit]) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", text, "' is longer than 100 years"));
    }
    seconds += count * kUnitSeconds[unit];
    next_unit = unit + 1;
    rest.remove_prefix(digits + 1);
  } while (!rest.empty());
  return absl::Seconds(seconds);
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration out;
  out.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
  return out;
}

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) +
         absl::Nanoseconds(duration.nanos());
}

}  // namespace dissonance::cli
