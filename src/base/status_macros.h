// Early return on an error, for functions that return absl::Status or
// absl::StatusOr<T>.
//
//   absl::StatusOr<Config> Load(const std::string& path) {
//     ASSIGN_OR_RETURN(std::string text, ReadFile(path));
//     RETURN_IF_ERROR(Check(text));
//     return Parse(text);
//   }
#ifndef DISSONANCE_BASE_STATUS_MACROS_H_
#define DISSONANCE_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace dissonance {

// The same code with "WHERE: " before the message; OK stays OK.
inline absl::Status Annotate(const absl::Status& status,
                             absl::string_view where) {
  if (status.ok()) return status;
  absl::Status out(status.code(), absl::StrCat(where, ": ", status.message()));
  status.ForEachPayload(
      [&out](absl::string_view url, const absl::Cord& payload) {
        out.SetPayload(url, payload);
      });
  return out;
}

}  // namespace dissonance

#define RETURN_IF_ERROR(expr)                                         \
  do {                                                                \
    if (absl::Status _status = (expr); !_status.ok()) return _status; \
  } while (false)

#define DISSONANCE_CONCAT_INNER(a, b) a##b
#define DISSONANCE_CONCAT(a, b) DISSONANCE_CONCAT_INNER(a, b)

#define ASSIGN_OR_RETURN(lhs, expr)                                          \
  DISSONANCE_ASSIGN_OR_RETURN(DISSONANCE_CONCAT(_status_or_, __LINE__), lhs, \
                              expr)

#define DISSONANCE_ASSIGN_OR_RETURN(tmp, lhs, expr) \
  auto tmp = (expr);                                \
  if (!tmp.ok()) return std::move(tmp).status();    \
  lhs = *std::move(tmp)

#endif  // DISSONANCE_BASE_STATUS_MACROS_H_
