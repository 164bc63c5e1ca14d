#include "src/lab/docgen/universe.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr absl::string_view kRequired = "required";
constexpr absl::string_view kForbidden = "forbidden";

absl::Status Error(absl::string_view file, absl::string_view field,
                   absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": ", field, ": ", what));
}

absl::StatusOr<std::string> TextOf(const json& object, const char* field,
                                   absl::string_view file) {
  const auto at = object.find(field);
  if (at == object.end() || !at->is_string() ||
      absl::StripAsciiWhitespace(at->get<std::string>()).empty()) {
    return Error(file, field, "missing, or no text");
  }
  return at->get<std::string>();
}

absl::StatusOr<std::vector<std::string>> PatternsOf(const json& value,
                                                    absl::string_view field,
                                                    absl::string_view file) {
  const std::string name = absl::StrCat("fact_validation_patterns.", field);
  if (!value.is_array()) return Error(file, name, "not a list of texts");
  std::vector<std::string> patterns;
  for (const json& pattern : value) {
    if (!pattern.is_string() ||
        absl::StripAsciiWhitespace(pattern.get<std::string>()).empty()) {
      return Error(file, name, "an entry is no text, or empty");
    }
    patterns.push_back(pattern.get<std::string>());
  }
  return patterns;
}

absl::Status ReadPatterns(const json& object, absl::string_view file,
                          Universe& universe) {
  const auto at = object.find("fact_validation_patterns");
  if (at == object.end() || at->is_null()) return absl::OkStatus();
  if (!at->is_object()) {
    return Error(file, "fact_validation_patterns", "not an object");
  }
  for (const auto& [name, value] : at->items()) {
    ASSIGN_OR_RETURN(std::vector<std::string> patterns,
                     PatternsOf(value, name, file));
    if (name == kForbidden) {
      universe.forbidden = std::move(patterns);
    } else if (!patterns.empty()) {
      universe.buckets.push_back({.name = name,
                                  .patterns = std::move(patterns),
                                  .is_always_triggered = name == kRequired});
    }
  }
  return absl::OkStatus();
}

bool IsWordPart(char c) {
  // Any byte of a letter beyond ASCII counts as one.
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool IsAsciiWordPart(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c));
}

// Runs of white space as one blank each, and in lower case if asked for.
std::string Plain(absl::string_view text, bool lower) {
  std::string plain;
  for (const char c : text) {
    if (absl::ascii_isspace(static_cast<unsigned char>(c))) {
      if (!plain.empty() && plain.back() != ' ') plain.push_back(' ');
    } else {
      plain.push_back(lower ? absl::ascii_tolower(static_cast<unsigned char>(c))
                            : c);
    }
  }
  return plain;
}

}  // namespace

absl::StatusOr<Universe> ParseUniverse(absl::string_view text,
                                       absl::string_view file_name) {
  ASSIGN_OR_RETURN(const json object, ParseJson(text, file_name));
  if (!object.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file_name, ": not a JSON object"));
  }
  if (object.contains("key_facts")) {
    return Error(file_name, "key_facts",
                 "facts are always taken from universe_context when documents "
                 "are generated; remove the field");
  }
  Universe universe;
  ASSIGN_OR_RETURN(universe.id, TextOf(object, "id", file_name));
  ASSIGN_OR_RETURN(universe.context,
                   TextOf(object, "universe_context", file_name));
  const auto is_true = object.find("is_true");
  if (is_true == object.end() || !is_true->is_boolean()) {
    return Error(file_name, "is_true", "missing, or neither true nor false");
  }
  universe.is_true = is_true->get<bool>();
  RETURN_IF_ERROR(ReadPatterns(object, file_name, universe));
  return universe;
}

bool HoldsPattern(absl::string_view text, absl::string_view pattern) {
  const bool ignores_case =
      std::any_of(pattern.begin(), pattern.end(),
                  [](unsigned char c) { return absl::ascii_islower(c); });
  const std::string held = Plain(text, ignores_case);
  const std::string sought =
      Plain(absl::StripAsciiWhitespace(pattern), ignores_case);
  for (size_t at = held.find(sought); at != std::string::npos;
       at = held.find(sought, at + 1)) {
    const size_t end = at + sought.size();
    const bool begins = !IsAsciiWordPart(sought.front()) || at == 0 ||
                        !IsWordPart(held[at - 1]);
    const bool ends = !IsAsciiWordPart(sought.back()) || end == held.size() ||
                      !IsWordPart(held[end]);
    if (begins && ends) return true;
  }
  return false;
}

bool Hits(absl::string_view text, const PatternBucket& bucket) {
  return std::any_of(bucket.patterns.begin(), bucket.patterns.end(),
                     [text](const std::string& pattern) {
                       return HoldsPattern(text, pattern);
                     });
}

}  // namespace dissonance
