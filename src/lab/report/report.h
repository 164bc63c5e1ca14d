// The report of an experiment: one HTML file that needs nothing else, and a CSV
// file for each of its plots. Made of results alone, neither of job names nor
// of times, so another run of the same experiment gives the same bytes. Pure
// functions; thread safe.
//
//   ReportRun run = {.title = "Cubic gravity", .stages = ..., .gates = ...};
//   ASSIGN_OR_RETURN(std::vector<JobFile> files, MakeReport(run));
//   // "report.html", "report/accuracy.csv", ...
#ifndef DISSONANCE_LAB_REPORT_REPORT_H_
#define DISSONANCE_LAB_REPORT_REPORT_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/jobs/job_files.h"
#include "src/lab/report/gate_verdict.h"

namespace dissonance {

inline constexpr char kReportFileName[] = "report.html";

// A job of the experiment.
struct ReportStage {
  std::string name;  // unique; of a single job its kind, e.g. "evaluate_mcq"
  v1::JobSpec spec;  // without data
  std::vector<v1::Provenance> provenance;
  std::vector<v1::JobInput> inputs;
  std::string code_version;
  // Those of its files that the report reads, by name.
  std::map<std::string, std::string> files;
  // Digests of all of its files that do not name the run, by name.
  std::map<std::string, std::string> digests;
};

struct ReportRun {
  std::string title;
  std::vector<ReportStage> stages;  // in the order in which they are told
  std::vector<GateVerdict> gates;
};

// Whether the report reads such a file of a job of that kind. A job as a stage:
// StageOf of report_stage.h, and the contents of these files.
bool ReportReads(v1::JobSpec::KindCase kind, absl::string_view file_name);

// DATA_LOSS, naming stage and file, for a file that is not of its job's form.
absl::StatusOr<std::vector<JobFile>> MakeReport(const ReportRun& run);

// Two experiments side by side.
absl::StatusOr<std::vector<JobFile>> MakeComparison(const ReportRun& first,
                                                    const ReportRun& second);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_REPORT_H_
