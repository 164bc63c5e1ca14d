#include "client/cli/heat.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace dissonance::cli {
namespace {

// Of xterm's 256 colours, from pale to strong; black is legible on all.
constexpr std::array<int, 5> kWarm = {230, 223, 216, 209, 202};
constexpr std::array<int, 5> kCold = {195, 159, 117, 75, 33};
// Less is shown as nothing.
constexpr double kLeast = 0.05;

absl::string_view Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

bool UsesColour() {
  return ::isatty(STDOUT_FILENO) == 1 && Variable("NO_COLOR").empty() &&
         Variable("TERM") != "dumb";
}

std::string Heat::Style(double value) const {
  const double strength = std::min(std::abs(value), 1.0);
  if (!coloured_ || !(strength >= kLeast)) return "";
  const auto& ramp = value > 0 ? kWarm : kCold;
  const auto step =
      std::min(static_cast<size_t>(strength * kWarm.size()), kWarm.size() - 1);
  return absl::StrCat("38;5;16;48;5;", ramp[step]);
}

}  // namespace dissonance::cli
