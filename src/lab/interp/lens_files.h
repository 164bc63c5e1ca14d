// The files of a logit_lens job, made of its records:
//
//   lens.jsonl          one line a prompt, variant and position: every layer
//   trajectories.json   of each variant, layer by layer over the prompts: mean
//                       margin with its 95 % interval, share of prompts whose
//                       margin favours the first candidate, mean log-
//                       probabilities; the block from which on the mean keeps
//                       its final sign, and how the prompts' own are spread
//   trajectories.csv, trajectories.vl.json   mean and band by block
//   breaking.csv, breaking.vl.json           how many prompts break where
//
// Trajectories are over the last position of each prompt that has two
// candidates. Intervals are Student's t of the mean. Pure functions; thread
// safe.
//
//   std::vector<JobFile> files = LensFiles(outcome);
#ifndef DISSONANCE_LAB_INTERP_LENS_FILES_H_
#define DISSONANCE_LAB_INTERP_LENS_FILES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "dissonance/internal/v1/interp_records.pb.h"
#include "nlohmann/json.hpp"
#include "src/lab/interp/prompt_set.h"
#include "src/lab/jobs/job_files.h"

namespace dissonance {

// All that a job read.
struct LensOutcome {
  PromptSet set;
  std::vector<std::string> variants;  // VariantLabels
  std::vector<internal::v1::LensRecord> prompts;
  int32_t block_count = 0;
};

// Half of the 95 % interval of a mean: t * s / sqrt(n), s with n - 1 in the
// denominator; nullopt for fewer than two values.
std::optional<double> MeanInterval(absl::Span<const double> values);

// The first block from which on the margins keep their final sign;
// `block_count` if only the output has it. Margins are by layer, the output's
// last; of several sites the last layer's counts. REQUIRES: as many places as
// margins.
int32_t BreakingBlock(absl::Span<const double> margins,
                      absl::Span<const v1::SiteRef> places,
                      int32_t block_count);

// All but the manifest.
std::vector<JobFile> LensFiles(const LensOutcome& outcome);

// Of those the charts, from the rows of their CSV files.
std::string TrajectoryChartFile(const std::vector<nlohmann::json>& rows);
std::string BreakingChartFile(const std::vector<nlohmann::json>& rows);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_LENS_FILES_H_
