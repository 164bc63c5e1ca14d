// A train_probes spec, checked, with what it names: its prompts, targets and
// places. Values and functions that ask the client alone.
//
//   ASSIGN_OR_RETURN(ProbesPlan plan, MakeProbesPlan(spec, jobs));
//   ASSIGN_OR_RETURN(plan.places, ProbePlaces(plan, compute));
#ifndef DISSONANCE_LAB_INTERP_PROBES_PLAN_H_
#define DISSONANCE_LAB_INTERP_PROBES_PLAN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/interp/interp_client.h"
#include "src/lab/interp/probe_labels.h"
#include "src/lab/interp/prompt_set.h"
#include "src/lab/jobs/finished_jobs.h"

namespace dissonance {

struct ProbesPlan {
  PromptSet set;
  std::vector<ProbeQuestion> questions;
  std::vector<v1::Variant> variants;
  v1::McqScoring scoring = v1::MCQ_SCORING_LETTER_VARIANTS;
  int component_count = 2;
  // The job whose activations are taken; unset: they are captured.
  std::optional<v1::Job> source;

  bool asks_questions() const;
};

// All that can be checked without the worker. INVALID_ARGUMENT, naming the
// field or file and line.
absl::StatusOr<ProbesPlan> MakeProbesPlan(const v1::JobSpec& spec,
                                          FinishedJobs& jobs);

// Where probes are trained, by site and then block.
absl::StatusOr<std::vector<v1::SiteRef>> ProbePlaces(
    const v1::TrainProbesSpec& spec, const ProbesPlan& plan,
    ComputeClient& compute);

// Targets that are fitted together, to some of the variants.
struct ProbeCall {
  std::vector<int> targets;   // the job's
  std::vector<int> variants;  // the job's, ascending
  bool has_components = false;
};

// One call for all variants with every target that fits them all, and one for
// each variant with those that fit some only. `labels` are by target and
// variant, null where there is nothing to fit.
std::vector<ProbeCall> ProbeCalls(
    const std::vector<std::vector<const v1::ProbeLabels*>>& labels);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_PROBES_PLAN_H_
