// How much memory this process can still get. Thread safe.
#ifndef DISSONANCE_BASE_MEMORY_H_
#define DISSONANCE_BASE_MEMORY_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace dissonance {

// Bytes that can be had without swapping: the machine's MemAvailable, or what
// is left of this process's control group (version 2) where that is less. Unset
// where the system does not say. `root` stands for / in tests.
std::optional<int64_t> AvailableMemoryBytes(const std::string& root = "");

// RESOURCE_EXHAUSTED with both numbers if `what` needs more than is available.
absl::Status CheckMemory(absl::string_view what, int64_t needed_bytes,
                         const std::string& root = "");

}  // namespace dissonance

#endif  // DISSONANCE_BASE_MEMORY_H_
