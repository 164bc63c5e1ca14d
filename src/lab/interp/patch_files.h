// The files of a patch sweep, as bytes, out of its records.
//
// patch.jsonl: one line a patch {block, delta_after, delta_before,
//   delta_source, direction, effect, flip, head, id, method, offset,
//   pair_prob_after, pair_prob_before, position, site}.
// map.csv, map.vl.json: means over prompts, positions counted from the end.
// heads.csv, heads.vl.json: the same of heads that were patched one by one.
// attribution.json: how the approximation goes with the exact effects.
//
// Charts are Vega-Lite 5 with their data. Pure functions; thread safe.
//
//   std::vector<JobFile> files = PatchFiles(plan, prompts);
#ifndef DISSONANCE_LAB_INTERP_PATCH_FILES_H_
#define DISSONANCE_LAB_INTERP_PATCH_FILES_H_

#include <vector>

#include "absl/types/span.h"
#include "dissonance/v1/interp_jobs.pb.h"
#include "nlohmann/json.hpp"
#include "src/lab/interp/patch_plan.h"
#include "src/lab/interp/patch_record.h"
#include "src/lab/jobs/job_files.h"

namespace dissonance {

// heads.* and attribution.json only where there is something for them.
std::vector<JobFile> PatchFiles(const PatchPlan& plan,
                                absl::Span<const PatchedPrompt> prompts);

// What the manifest says beside files and run. `provenance` is that of source
// and target.
nlohmann::json PatchManifest(const v1::PatchSweepSpec& spec,
                             const PatchPlan& plan, size_t prompt_count,
                             absl::Span<const v1::Provenance> provenance);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_PATCH_FILES_H_
