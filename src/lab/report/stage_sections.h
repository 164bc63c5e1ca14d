// All sections of a run's stages, and its title. Pure; thread safe.
#ifndef DISSONANCE_LAB_REPORT_STAGE_SECTIONS_H_
#define DISSONANCE_LAB_REPORT_STAGE_SECTIONS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "src/lab/report/report.h"
#include "src/lab/report/section.h"

namespace dissonance {

// Of each stage that has something to tell, or too much, in their order.
// `id_prefix` keeps the ids of two runs on one page apart. Sections of stages
// are "NAME.section", whatever the name; the page's own have no ".".
absl::StatusOr<std::vector<Section>> StageSections(
    const ReportRun& run, const std::string& id_prefix);

// Of the page; never empty.
std::string TitleOf(const ReportRun& run);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_STAGE_SECTIONS_H_
