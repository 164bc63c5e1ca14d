// dissonance probe dataset: prompts to train probes on, from multiple-choice
// questions or probing prompts, without a server. Thread safe.
//
//   ASSIGN_OR_RETURN(std::vector<nlohmann::json> rows,
//                    ProbingRows(text, "mcqs.jsonl", /*controls=*/false));
#ifndef DISSONANCE_CLIENT_CLI_PROBE_DATASET_H_
#define DISSONANCE_CLIENT_CLI_PROBE_DATASET_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/command.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// One row for each question or probing prompt: {prompt_id, category, label,
// full_prompt_text, decision_trigger, rule, source}, with difficulty,
// world_label and group where they are known. `label` is "conflict" where the
// category begins with "conflict", else "nonconflict_hard" where the difficulty
// is "hard", else "nonconflict"; of `controls` it never is "conflict". `rule`
// says so in each row. INVALID_ARGUMENT with file, line and field.
absl::StatusOr<std::vector<nlohmann::json>> ProbingRows(
    absl::string_view text, absl::string_view file_name, bool controls);

// Adds the options.
CommandRun DefineProbeDataset(CLI::App& app);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_PROBE_DATASET_H_
