#include "src/lab/eval/network_difference.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace dissonance {

std::string NetworkDifference(const v1::Provenance& before,
                              const v1::Provenance& after) {
  std::vector<std::string> changed;
  const auto add = [&changed](bool differs, std::string what) {
    if (differs) changed.push_back(std::move(what));
  };
  add(before.model_digest() != after.model_digest(), "weights");
  add(before.adapter_digest() != after.adapter_digest(), "adapter");
  add(before.tokenizer_digest() != after.tokenizer_digest(), "tokenizer");
  add(before.dtype() != after.dtype(), "dtype");
  add(before.device() != after.device(),
      absl::StrCat("device ", before.device(), " became ", after.device()));
  add(before.reproducible() != after.reproducible(), "reproducible mode");
  // What either names, in the order of the alphabet.
  std::map<std::string, std::pair<std::string, std::string>> versions;
  for (const auto& [name, value] : before.versions()) {
    versions[name].first = value;
  }
  for (const auto& [name, value] : after.versions()) {
    versions[name].second = value;
  }
  for (const auto& [name, values] : versions) {
    const auto& [old_value, new_value] = values;
    add(old_value != new_value,
        absl::StrCat(name, " ", old_value, " became ", new_value));
  }
  return absl::StrJoin(changed, ", ");
}

}  // namespace dissonance
