// The files of server/control/dashboard as text. Made when the program is
// built.
#ifndef DISSONANCE_SERVER_CONTROL_DASHBOARD_ASSETS_H_
#define DISSONANCE_SERVER_CONTROL_DASHBOARD_ASSETS_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace dissonance {

struct DashboardAsset {
  absl::string_view name;  // e.g. "index.html"
  absl::string_view text;
};

absl::Span<const DashboardAsset> DashboardAssets();

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_DASHBOARD_ASSETS_H_
