// The files of a train_probes job, made of its records:
//
//   probes.json         {TARGET: {VARIANT: {"blocks.3.resid_post": {...}}}}
//   probes.jsonl        the same, one probe a line, with all that is known
//   probes.safetensors  TARGET.VARIANT_INDEX.PLACE.cC and .direction, .weight,
//                       .mean, .scale; the text "probes" has norm, bias,
//                       residual_norm, intercepts, variant, target and c by
//                       name
//   folds.json          fold of each input, by target and variant
//   decisions.jsonl     one line an input, target and variant: its class, and
//                       what the probe of each place said that had not seen it;
//                       of two classes and of ridge regression only, and absent
//                       if there is none such
//   auc.csv, auc.vl.json            AUC by block, with the shuffled labels'
//   transfer.csv                    probes tested on other variants, if asked
//   pca.jsonl, pca.csv, pca.vl.json map of all rows by place
//   pca.json                        variances along the components
//   summary.json        rows and groups, best places and gates
//
// With several values of C the places of probes.json end in ".cC". Pure
// functions; thread safe.
//
//   std::vector<JobFile> files = ProbeFiles(outcome);
#ifndef DISSONANCE_LAB_INTERP_PROBE_FILES_H_
#define DISSONANCE_LAB_INTERP_PROBE_FILES_H_

#include <string>
#include <vector>

#include "dissonance/internal/v1/interp_records.pb.h"
#include "nlohmann/json.hpp"
#include "src/lab/interp/probe_labels.h"
#include "src/lab/interp/prompt_set.h"
#include "src/lab/jobs/job_files.h"

namespace dissonance {

// A target that could not be fitted for a variant.
struct SkippedProbe {
  int target = 0;
  int variant = 0;
  std::string reason;
};

// All that a job found.
struct ProbesOutcome {
  PromptSet set;
  std::vector<ProbeQuestion> questions;
  std::vector<std::string> variants;                 // VariantLabels
  std::vector<std::vector<v1::ProbeLabels>> labels;  // [target][variant]
  std::vector<SkippedProbe> skipped;
  std::vector<internal::v1::ProbesRecord> places;  // by call, then place
  bool has_several_c = false;
  bool is_ridge = false;
};

// "category_conflict.1.blocks.3.resid_post.c0.1".
std::string ProbeName(const ProbesOutcome& outcome,
                      const v1::ProbeResult& probe);

// "SIGNAL", "LEAK?", "NONE"; null without controls.
nlohmann::json ProbeStatusJson(const v1::ProbeResult& probe);

// The class of an input, by name, or its number; null if it is left out.
nlohmann::json ClassJson(const ProbesOutcome& outcome, int target, int variant,
                         int input);

// All but the manifest.
std::vector<JobFile> ProbeFiles(const ProbesOutcome& outcome);

// Of those the files with weights, and those that are drawn.
std::string ProbeWeightsFile(const ProbesOutcome& outcome);
std::vector<JobFile> ComponentFiles(const ProbesOutcome& outcome);
std::string AucChartFile(const std::vector<nlohmann::json>& rows);
std::string ProbeSummaryFile(const ProbesOutcome& outcome);

// {target, variant, variant_index, place, site, block, c}: where a probe is.
nlohmann::json ProbePlaceJson(const ProbesOutcome& outcome,
                              const v1::ProbeResult& probe);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_PROBE_FILES_H_
