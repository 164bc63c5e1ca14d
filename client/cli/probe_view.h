// Probes and trajectories as people read them, from a job's files. Pure but for
// reading files; thread safe.
//
//   ASSIGN_OR_RETURN(std::string text, ProbesText(directory));
#ifndef DISSONANCE_CLIENT_CLI_PROBE_VIEW_H_
#define DISSONANCE_CLIENT_CLI_PROBE_VIEW_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// The rows of a probes.jsonl. DATA_LOSS, with `where`, for other lines.
absl::StatusOr<std::vector<nlohmann::json>> ProbeRows(absl::string_view text,
                                                      absl::string_view where);

// Of each target a table: a line for each place, and of each variant the AUC,
// that of shuffled labels, the p-value and the verdict. REQUIRES: rows that
// ProbeRows gave.
std::string ProbeTables(const std::vector<nlohmann::json>& rows);

// ProbeTables of a job's files, with rows and groups before and gates behind.
// DATA_LOSS if they are not those of probes.
absl::StatusOr<std::string> ProbesText(const std::string& directory);

// The mean margin of each variant, layer by layer, with its interval and the
// share of prompts that favour the first candidate, and where prompts break.
// DATA_LOSS if the files are not those of a lens.
absl::StatusOr<std::string> LensSweepText(const std::string& directory);

// The folders of an extraction: rows, places, shards.
absl::StatusOr<std::string> ExtractionText(const std::string& directory);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_PROBE_VIEW_H_
