// What a multiple-choice evaluation found, for people: accuracy by group, the
// false-belief rate, and the questions that the adapter answers differently.
// Pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(McqOutcome outcome, ReadOutcome("out", true));
//   std::cout << RenderOutcome(outcome, items);
#ifndef DISSONANCE_CLIENT_CLI_MCQ_SUMMARY_H_
#define DISSONANCE_CLIENT_CLI_MCQ_SUMMARY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "src/lab/eval/mcq_compare.h"
#include "src/lab/eval/mcq_data.h"

namespace dissonance::cli {

struct McqOutcome {
  McqSummary base;
  // Each further variant against the base; none where that alone was evaluated.
  std::vector<McqComparison> comparisons;
};

// From the predictions files of so many variants in `directory`. NOT_FOUND if
// they are not there. REQUIRES: variant_count >= 1.
absl::StatusOr<McqOutcome> ReadOutcome(const std::string& directory,
                                       int variant_count);

// Tables and flips, of further variants than two their number. `items` may be
// empty where the questions are not at hand; flips then stand without text.
std::string RenderOutcome(const McqOutcome& outcome,
                          absl::Span<const McqItem> items);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_MCQ_SUMMARY_H_
