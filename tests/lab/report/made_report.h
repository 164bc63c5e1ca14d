// Reports as tests look at them. Pure.
#ifndef DISSONANCE_TESTS_LAB_REPORT_MADE_REPORT_H_
#define DISSONANCE_TESTS_LAB_REPORT_MADE_REPORT_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "src/lab/report/report.h"

namespace dissonance {

using Files = std::map<std::string, std::string>;

// By name; fails the test where there are none, or two of a name.
inline Files Made(absl::StatusOr<std::vector<JobFile>> files) {
  EXPECT_TRUE(files.ok()) << files.status();
  Files by_name;
  if (!files.ok()) return by_name;
  for (JobFile& file : *files) {
    const auto [at, added] =
        by_name.emplace(file.name, std::move(file.contents));
    EXPECT_TRUE(added) << file.name << " twice";
  }
  return by_name;
}

inline std::string PageOf(const ReportRun& run) {
  return Made(MakeReport(run))[kReportFileName];
}

inline ReportStage& StageNamed(ReportRun& run, const std::string& name) {
  return *std::find_if(
      run.stages.begin(), run.stages.end(),
      [&](const ReportStage& stage) { return stage.name == name; });
}

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_REPORT_MADE_REPORT_H_
