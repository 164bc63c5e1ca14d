#include "src/lab/llm/json_reply.h"

#include "absl/status/status.h"

namespace dissonance {
namespace {

using nlohmann::json;

// The text from an opening brace to the one that closes it, strings minded;
// empty if none does.
absl::string_view ObjectAt(absl::string_view text, size_t begin) {
  int depth = 0;
  bool in_string = false;
  for (size_t at = begin; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') ++at;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      return text.substr(begin, at + 1 - begin);
    }
  }
  return {};
}

}  // namespace

absl::StatusOr<json> JsonObjectIn(absl::string_view reply) {
  for (size_t begin = reply.find('{'); begin != absl::string_view::npos;
       begin = reply.find('{', begin + 1)) {
    const absl::string_view text = ObjectAt(reply, begin);
    if (text.empty()) continue;
    json value = json::parse(text.begin(), text.end(), nullptr, false);
    if (value.is_object()) return value;
  }
  return absl::InvalidArgumentError("the reply holds no JSON object");
}

}  // namespace dissonance
