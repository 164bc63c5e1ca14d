// What a running patch sweep records: of each prompt all patches, of all runs.
// Doubles survive the text bit for bit. Values and pure functions; thread safe.
//
//   std::string stored = EncodePatches(prompt);
//   ASSIGN_OR_RETURN(PatchedPrompt same, DecodePatches(stored, "record 3"));
#ifndef DISSONANCE_LAB_INTERP_PATCH_RECORD_H_
#define DISSONANCE_LAB_INTERP_PATCH_RECORD_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/interpretability.pb.h"
#include "src/lab/interp/patch_plan.h"

namespace dissonance {

struct PatchRow {
  v1::Site site = v1::SITE_UNSPECIFIED;
  int block = -1;  // -1: the site belongs to none
  int head = -1;   // -1: all of the site
  int position = 0;
  double delta = 0;      // logit A - logit B of the patched network
  double pair_prob = 0;  // P(A) / (P(A) + P(B)) of it
  bool flip = false;
};

// The patches of one run.
struct PatchedRun {
  PatchRun run;
  double delta_source = 0;
  double delta_target = 0;
  double pair_prob_target = 0;
  std::vector<PatchRow> rows;
};

struct PatchedPrompt {
  std::string id;
  int token_count = 0;
  std::vector<PatchedRun> runs;
};

// INTERNAL for a response without results, or with numbers that are not
// finite.
absl::StatusOr<PatchedRun> PatchedRunOf(const PatchRun& run,
                                        const v1::PatchResponse& response);

std::string EncodePatches(const PatchedPrompt& prompt);

// DATA_LOSS, beginning with `where`, if the text is no record.
absl::StatusOr<PatchedPrompt> DecodePatches(absl::string_view text,
                                            absl::string_view where);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_PATCH_RECORD_H_
