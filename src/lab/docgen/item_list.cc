#include "src/lab/docgen/item_list.h"

#include <set>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "src/lab/llm/json_reply.h"

namespace dissonance {
namespace {

using nlohmann::json;

std::string Normal(absl::string_view text) {
  std::string normal = absl::AsciiStrToLower(text);
  absl::RemoveExtraAsciiWhitespace(&normal);
  return normal;
}

}  // namespace

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
