// A job as a stage of a report, and what a pipeline says of its stages and
// gates, as files. Pure functions; thread safe.
//
//   ReportStage stage = StageOf("mcq", job);
//   for (const v1::JobOutput& output : job.outputs()) {
//     if (ReportTakes(job.spec().kind_case(), output)) ...
//   }
#ifndef DISSONANCE_LAB_REPORT_REPORT_STAGE_H_
#define DISSONANCE_LAB_REPORT_REPORT_STAGE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "dissonance/v1/jobs.pb.h"
#include "nlohmann/json.hpp"
#include "src/lab/report/gate_verdict.h"
#include "src/lab/report/report.h"

namespace dissonance {

inline constexpr char kGatesFileName[] = "gates.json";
inline constexpr char kStagesFileName[] = "stages.json";

// A kind of job in words, "Multiple-choice questions", and as the field of a
// spec is called, "evaluate_mcq".
absl::string_view KindTitle(v1::JobSpec::KindCase kind);
std::string KindName(const v1::JobSpec& spec);

// All of a stage but the contents of its files: the spec without data, which
// are all fields of bytes; digests of the outputs that do not name the run and
// are no checkpoints.
ReportStage StageOf(const std::string& name, const v1::Job& job);

// What a stage was asked, as JSON with sorted keys. Long texts are given by
// their length.
nlohmann::json SettingsJson(const ReportStage& stage);

// What a report takes of an entry of stages.json.
struct StageEntry {
  std::string name;
  std::string job;    // "jobs/ULID"; empty: never begun
  std::string state;  // "SUCCEEDED"
};

// Puts "stage NAME" wherever the spec names the job of one of these stages, as
// the pipeline's own report has it, so that two runs can be compared.
void NameStages(absl::Span<const StageEntry> stages, v1::JobSpec& spec);

// The gates of a run, and what ended it if something did.
std::string GatesFile(const ReportRun& run);
// A run of these alone. DATA_LOSS if the text is no such file.
absl::StatusOr<ReportRun> ReadGates(absl::string_view text);
absl::StatusOr<std::vector<StageEntry>> ReadStages(absl::string_view text);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_REPORT_STAGE_H_
