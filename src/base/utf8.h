// UTF-8 checks. Thread safe.
#ifndef DISSONANCE_BASE_UTF8_H_
#define DISSONANCE_BASE_UTF8_H_

#include <cstddef>
#include <optional>

#include "absl/strings/string_view.h"

namespace dissonance {

// Offset of the first byte that is not part of well-formed UTF-8 (RFC 3629: no
// overlong forms, no surrogates, nothing above U+10FFFF); nullopt if all is.
std::optional<size_t> FindInvalidUtf8(absl::string_view text);

}  // namespace dissonance

#endif  // DISSONANCE_BASE_UTF8_H_
