#include "src/lab/llm/json_reply.h"

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr size_t kMostObjects = 1000;

// Whether the brace at `begin` can open a JSON object, as those of a "{set}" or
// of "\\frac{1}{2}" can't.
bool OpensObject(absl::string_view text, size_t begin) {
  const size_t next = text.find_first_not_of(" \t\r\n", begin + 1);
  return next != absl::string_view::npos &&
         (text[next] == '"' || text[next] == '}');
}

// From opening braces to those that close them, strings minded, the outermost
// alone; in one pass.
std::vector<absl::string_view> ObjectsLike(absl::string_view text) {
  std::vector<absl::string_view> found;
  std::vector<size_t> open;
  bool in_string = false;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') ++at;
      // No string of JSON goes over a line's end: it was a quote in words.
      in_string = c != '"' && c != '\n';
    } else if (c == '"') {
      in_string = !open.empty();
    } else if (c == '{' && OpensObject(text, at)) {
      open.push_back(at);
    } else if (c == '}' && !open.empty()) {
      const size_t begin = open.back();
      open.pop_back();
      while (!found.empty() && found.back().data() > text.data() + begin) {
        found.pop_back();
      }
      found.push_back(text.substr(begin, at + 1 - begin));
    }
  }
  return found;
}

}  // namespace

absl::StatusOr<std::vector<json>> JsonObjectsIn(absl::string_view reply) {
  const std::vector<absl::string_view> texts = ObjectsLike(reply);
  if (texts.size() > kMostObjects) {
    return absl::InvalidArgumentError(
        absl::StrCat("the reply holds ", texts.size(),
                     " pieces like JSON objects; at most ", kMostObjects));
  }
  std::vector<json> objects;
  absl::Status refusal =
      absl::InvalidArgumentError("the reply holds no JSON object");
  for (size_t i = 0; i < texts.size(); ++i) {
    absl::StatusOr<json> object = ParseJson(texts[i], "the reply's object");
    if (object.ok()) {
      objects.push_back(*std::move(object));
    } else if (i == 0) {
      refusal = object.status();
    }
  }
  if (objects.empty()) return refusal;
  return objects;
}

absl::StatusOr<json> JsonObjectIn(absl::string_view reply) {
  ASSIGN_OR_RETURN(std::vector<json> objects, JsonObjectsIn(reply));
  return std::move(objects.front());
}

}  // namespace dissonance
