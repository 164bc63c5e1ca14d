// Texts beside each other, for comparing them on a terminal. Thread safe.
//
//   std::cout << SideBySide({"base", "cubic"}, {text, other}, 80);
#ifndef DISSONANCE_CLIENT_CLI_COLUMNS_H_
#define DISSONANCE_CLIENT_CLI_COLUMNS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace dissonance::cli {

// Lines of at most `width` terminal columns, broken between words, or inside a
// word that is longer. REQUIRES: width >= 2.
std::vector<std::string> WrapLines(absl::string_view text, int width);

// Width of each of `count` columns on a terminal of `width`; 0 or less: there
// is no room.
int ColumnWidth(int count, int width);

// The texts under their titles, each wrapped into its column. Control
// characters are shown escaped. REQUIRES: ColumnWidth is at least 2.
std::string SideBySide(const std::vector<std::string>& titles,
                       const std::vector<std::string>& texts, int width);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_COLUMNS_H_
