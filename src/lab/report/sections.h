// The sections of a report, one for each kind of stage. Each is nullopt where
// the stage lacks the files that it tells of, and DATA_LOSS, naming stage and
// file, where they are not of their job's form. Pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(std::optional<Section> section, SectionOf(files));
#ifndef DISSONANCE_LAB_REPORT_SECTIONS_H_
#define DISSONANCE_LAB_REPORT_SECTIONS_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "src/lab/report/gate_verdict.h"
#include "src/lab/report/report.h"
#include "src/lab/report/section.h"
#include "src/lab/report/stage_files.h"

namespace dissonance {

using MaybeSection = absl::StatusOr<std::optional<Section>>;

// What the kind of the stage has to tell.
MaybeSection SectionOf(const StageFiles& files);

MaybeSection DocumentsSection(const StageFiles& files);
MaybeSection TrainingSection(const StageFiles& files);
MaybeSection McqSection(const StageFiles& files);
MaybeSection OpenSection(const StageFiles& files);
MaybeSection JudgeSection(const StageFiles& files);
MaybeSection LensSection(const StageFiles& files);
MaybeSection ProbesSection(const StageFiles& files);
MaybeSection PatchSection(const StageFiles& files);
MaybeSection SteeringSection(const StageFiles& files);

// Continued questions of a steering sweep, each token coloured by how far it
// lies along the direction.
absl::StatusOr<std::string> SamplesHtml(const StageFiles& files);

// Gates as a table, below what ended the run; empty without either.
std::string GatesHtml(const ReportRun& run);

// What computed what from what: networks, inputs, files.
Section ProvenanceSection(const ReportRun& run, const std::string& id);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_SECTIONS_H_
