// The page's own files and the libraries that draw its charts, as text. Made
// from files when the program is built.
#ifndef DISSONANCE_LAB_REPORT_ASSETS_H_
#define DISSONANCE_LAB_REPORT_ASSETS_H_

#include "absl/strings/string_view.h"

namespace dissonance {

extern const absl::string_view kPageStyle;
extern const absl::string_view kPageScript;
// Vega, Vega-Lite and vega-embed, in the order in which they are loaded.
extern const absl::string_view kVegaScript;
extern const absl::string_view kVegaLiteScript;
extern const absl::string_view kVegaEmbedScript;
// Names, versions and licence of the three.
extern const absl::string_view kChartLibraries;
extern const absl::string_view kChartLicence;

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_ASSETS_H_
