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

#include <cstdint>
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
// A longer file is left out, and the page says so: whoever makes a report holds
// its files, and one of them parsed, in memory.
inline constexpr int64_t kReportFileLimitBytes = int64_t{64} << 20;

// A job of the experiment.
struct ReportStage {
  std::string name;  // unique; of a single job its kind, e.g. "evaluate_mcq"
  v1::JobSpec spec;  // without data
  std::vector<v1::Provenance> provenance;
  std::vector<v1::JobInput> inputs;
  std::string code_version;
  // Those of its files that the report reads, by name.
  std::map<std::string, std::string> files;
  // Those that it would read if they were not too long: bytes, by name.
  std::map<std::string, int64_t> left_out;
  // Digests of all of its files that do not name the run, by name.
  std::map<std::string, std::string> digests;
};

struct ReportRun {
  std::string title;                // empty: "An experiment"
  std::vector<ReportStage> stages;  // in the order in which they are told
  std::vector<GateVerdict> gates;
  // What ended it before its last stage, "gate behaviour of mcq", and the
  // stages that are not told of for that; empty if nothing did.
  std::string ended_by = {};
  std::vector<std::string> not_shown = {};
};

// Whether the report tells of such a file of a job of that kind.
bool ReportReads(v1::JobSpec::KindCase kind, absl::string_view file_name);
// Whether it reads this one, which is such a file and not too long. A job as a
// stage: StageOf of report_stage.h, and the contents of these files.
bool ReportTakes(v1::JobSpec::KindCase kind, const v1::JobOutput& output);

// DATA_LOSS, naming stage and file, for a file that is not of its job's form.
absl::StatusOr<std::vector<JobFile>> MakeReport(const ReportRun& run);

// Two experiments side by side.
absl::StatusOr<std::vector<JobFile>> MakeComparison(const ReportRun& first,
                                                    const ReportRun& second);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_REPORT_H_
