// Lists that a model was asked for: {"items": ["...", ...]}. Pure; thread safe.
#ifndef DISSONANCE_LAB_DOCGEN_ITEM_LIST_H_
#define DISSONANCE_LAB_DOCGEN_ITEM_LIST_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

// The list's texts, stripped, without empty ones, each once: texts that differ
// by case or white space alone are one. INVALID_ARGUMENT if it is no such list.
absl::StatusOr<std::vector<std::string>> ItemsIn(absl::string_view reply);

// Adds those that are not in the list yet, likewise. Returns how many.
size_t AddNewItems(const std::vector<std::string>& items,
                   std::vector<std::string>& list);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_ITEM_LIST_H_
