#include "src/lab/docgen/item_list.h"

#include <set>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

using nlohmann::json;

std::string Normal(absl::string_view text) {
  std::string normal = absl::AsciiStrToLower(text);
  absl::RemoveExtraAsciiWhitespace(&normal);
  return normal;
}

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

absl::StatusOr<std::vector<std::string>> ItemsIn(absl::string_view reply) {
  absl::StatusOr<json> object = JsonObjectIn(reply);
  if (!object.ok()) return object.status();
  const auto at = object->find("items");
  if (at == object->end() || !at->is_array()) {
    return absl::InvalidArgumentError(
        "the reply's object has no list \"items\"");
  }
  std::vector<std::string> items;
  for (const json& item : *at) {
    if (!item.is_string()) {
      return absl::InvalidArgumentError("an entry of \"items\" is no text");
    }
    items.push_back(
        std::string(absl::StripAsciiWhitespace(item.get<std::string>())));
  }
  std::vector<std::string> list;
  AddNewItems(items, list);
  return list;
}

size_t AddNewItems(const std::vector<std::string>& items,
                   std::vector<std::string>& list) {
  std::set<std::string> known;
  for (const std::string& item : list) known.insert(Normal(item));
  const size_t before = list.size();
  for (const std::string& item : items) {
    const std::string normal = Normal(item);
    if (normal.empty() || !known.insert(normal).second) continue;
    list.push_back(item);
  }
  return list.size() - before;
}

}  // namespace dissonance
