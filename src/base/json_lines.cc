#include "src/base/json_lines.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "src/base/status_macros.h"
#include "src/base/utf8.h"

namespace dissonance {
namespace {

constexpr int kDepthLimit = 64;
constexpr size_t kReasonLimit = 300;

// Deepest nesting of brackets outside strings, so that the recursive parser is
// never given more than it can take.
int NestingOf(absl::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

absl::string_view Shorten(absl::string_view reason) {
  reason = reason.substr(0, kReasonLimit);
  return reason.substr(0, FindInvalidUtf8(reason).value_or(reason.size()));
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text,
                                         absl::string_view where) {
  if (const std::optional<size_t> at = FindInvalidUtf8(text)) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": not UTF-8 at byte ", *at + 1, "; save the file as UTF-8"));
  }
  // The parser takes a NUL for the end of its input.
  if (const size_t at = text.find('\0'); at != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": NUL at byte ", at + 1));
  }
  if (NestingOf(text) > kDepthLimit) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": nested deeper than ", kDepthLimit, " levels"));
  }
  std::vector<std::set<std::string>> keys;
  std::optional<std::string> repeated;
  const auto watch_keys = [&](int /*depth*/,
                              nlohmann::json::parse_event_t event,
                              nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key) {
      const auto key = parsed.get<std::string>();
      if (!keys.back().insert(key).second) repeated = key;
    }
    return true;
  };
  try {
    nlohmann::json value =
        nlohmann::json::parse(text.begin(), text.end(), watch_keys);
    if (repeated.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": key \"", *repeated, "\" appears twice"));
    }
    return value;
  } catch (const nlohmann::json::exception& e) {
    // The parser quotes the last token, however long it is.
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": not JSON: ", Shorten(e.what())));
  }
}

absl::StatusOr<std::vector<JsonLine>> ParseJsonLines(
    absl::string_view text, absl::string_view file_name) {
  absl::ConsumePrefix(&text, "\xEF\xBB\xBF");
  std::vector<JsonLine> lines;
  int line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const size_t end = text.find('\n');
    absl::string_view line = text.substr(0, end);
    text = end == absl::string_view::npos ? absl::string_view()
                                          : text.substr(end + 1);
    if (line.find_first_not_of(" \t\r") == absl::string_view::npos) continue;
    const std::string where = absl::StrCat(file_name, ":", line_number);
    ASSIGN_OR_RETURN(nlohmann::json value, ParseJson(line, where));
    if (!value.is_object()) {
      return absl::InvalidArgumentError(absl::StrCat(
          where, ": expected a JSON object, found ", value.type_name()));
    }
    lines.push_back({line_number, std::move(value)});
  }
  return lines;
}

std::string ToJsonLine(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

}  // namespace dissonance
