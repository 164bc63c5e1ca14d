// A job's result files, read to be shown. Thread safe.
//
//   ASSIGN_OR_RETURN(const nlohmann::json report, ReadJsonFile(path));
//   return Rendered(directory, [&] { return Text(report.at("rows")); });
#ifndef DISSONANCE_CLIENT_CLI_RESULT_FILES_H_
#define DISSONANCE_CLIENT_CLI_RESULT_FILES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {

inline constexpr uint64_t kResultFileLimitBytes = uint64_t{1} << 30;

inline absl::StatusOr<nlohmann::json> ReadJsonFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text,
                   ReadFile(path, kResultFileLimitBytes));
  return ParseJson(text, path);
}

// What `render` makes of a file or a folder's files, which messages call
// `where`, and whose fields may not be those expected: DATA_LOSS then.
template <typename Render>
absl::StatusOr<std::string> Rendered(const std::string& where,
                                     const Render& render) {
  try {
    return render();
  } catch (const nlohmann::json::exception& e) {
    return absl::DataLossError(
        absl::StrCat(where, " is not as the server writes it: ", e.what(),
                     "; are client and server of the same version?"));
  }
}

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_RESULT_FILES_H_
