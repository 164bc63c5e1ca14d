#include "client/cli/request_id.h"

#include <random>

#include "absl/strings/str_format.h"

namespace dissonance::cli {

std::string RandomRequestId() {
  std::random_device random;
  return absl::StrFormat("cli-%08x%08x%08x%08x", random(), random(), random(),
                         random());
}

}  // namespace dissonance::cli
