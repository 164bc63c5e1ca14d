// What the probes of a job tell apart: the rules of its targets, applied to its
// prompts. Pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(std::vector<ProbeQuestion> questions,
//                    ProbeQuestionsOf(spec, set));
#ifndef DISSONANCE_LAB_INTERP_PROBE_LABELS_H_
#define DISSONANCE_LAB_INTERP_PROBE_LABELS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dissonance/v1/interp_jobs.pb.h"
#include "src/lab/interp/network_spec.h"
#include "src/lab/interp/prompt_set.h"

namespace dissonance {

// A target of a job.
struct ProbeQuestion {
  std::string name;  // "category_conflict"; of a field its name
  // Whether the labels are what each variant answers, not known beforehand.
  bool is_answered = false;
  // Names of the classes, from class 0; empty for ridge.
  std::vector<std::string> class_names;
  v1::ProbeLabels labels;  // unless is_answered
};

// The targets in the spec's order. INVALID_ARGUMENT, naming the target and, of
// ridge regression, file and line: no targets, two of one name, a label that no
// row has (with those there are), a target that needs questions, and labels
// that no probe can be fitted to, as CheckFit says.
absl::StatusOr<std::vector<ProbeQuestion>> ProbeQuestionsOf(
    const v1::TrainProbesSpec& spec, const PromptSet& set);

// The classes of one rule that needs no answers; `where` is its field.
// INVALID_ARGUMENT as above.
absl::StatusOr<ProbeQuestion> ClassesOf(const v1::LabelRule& rule,
                                        const SpecFields& fields,
                                        const std::string& where,
                                        const PromptSet& set);

// The labels of an is_answered target: class 1 where the chosen option is the
// false answer, 0 where it is the true one. `answers` are one variant's, by
// question.
v1::ProbeLabels AnsweredLabels(const PromptSet& set,
                               absl::Span<const int32_t> answers);

// INVALID_ARGUMENT unless a probe can be cross-validated: two classes or more,
// each with as many rows and groups as there are folds, and some of it in every
// fold; of ridge regression two rows or groups for each fold. What the worker
// would say, but before.
absl::Status CheckFit(const v1::ProbeLabels& labels,
                      const v1::ProbeOptions& options, const PromptSet& set);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_PROBE_LABELS_H_
