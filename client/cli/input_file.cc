#include "client/cli/input_file.h"

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "client/cli/errors.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/base/utf8.h"
#include "src/lab/eval/input_rows.h"

namespace dissonance::cli {
namespace {

absl::StatusOr<std::string> ReadStandardInput(uint64_t limit_bytes) {
  std::string contents;
  std::string buffer(1 << 16, '\0');
  while (true) {
    const size_t n = std::fread(buffer.data(), 1, buffer.size(), stdin);
    if (contents.size() + n > limit_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("standard input is larger than the limit of ",
                       limit_bytes, " bytes"));
    }
    contents.append(buffer.data(), n);
    if (n < buffer.size()) break;
  }
  if (std::ferror(stdin) != 0) {
    return absl::UnknownError("cannot read standard input");
  }
  return contents;
}

}  // namespace

absl::StatusOr<std::string> ReadInput(const std::string& path,
                                      uint64_t limit_bytes) {
  return path == "-" ? ReadStandardInput(limit_bytes)
                     : ReadFile(path, limit_bytes);
}

absl::Status CheckUtf8(absl::string_view text, absl::string_view where) {
  const std::optional<size_t> at = FindInvalidUtf8(text);
  if (!at.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": not UTF-8 at byte ", *at + 1,
                   "; convert the text, e.g. with iconv"));
}

std::string InputLabel(const std::string& path) {
  return path == "-" ? "standard input" : path;
}

absl::Status CheckReplacesNone(const std::string& output,
                               const std::vector<std::string>& inputs) {
  for (const std::string& input : inputs) {
    std::error_code error;
    if (input.empty() || input == "-" ||
        !std::filesystem::equivalent(input, output, error)) {
      continue;
    }
    return UsageError(absl::StrCat("--out would replace ", input,
                                   ", which is read; name another place"));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Chat> ReadChat(const std::string& path,
                                  uint64_t limit_bytes) {
  ASSIGN_OR_RETURN(const std::string text, ReadInput(path, limit_bytes));
  const std::string label = InputLabel(path);
  ASSIGN_OR_RETURN(const nlohmann::json value, ParseJson(text, label));
  const bool wrapped = value.is_object() && value.contains("messages");
  return ParseChat(wrapped ? value["messages"] : value, label);
}

}  // namespace dissonance::cli
