// Asks variants of a network multiple-choice questions through the worker: the
// part of an evaluation that has no records. For one thread; borrows the
// compute client.
//
//   McqScorer scorer(compute, variants, scoring, call);
//   RETURN_IF_ERROR(scorer.ReadModels().status());
//   RETURN_IF_ERROR(scorer.CheckLengths(items));
//   ASSIGN_OR_RETURN(McqAnswers answers, scorer.Score(items));
#ifndef DISSONANCE_LAB_EVAL_MCQ_SCORER_H_
#define DISSONANCE_LAB_EVAL_MCQ_SCORER_H_

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/eval/compute_client.h"
#include "src/lab/eval/mcq_data.h"
#include "src/lab/eval/mcq_files.h"
#include "src/lab/eval/mcq_prediction.h"
#include "src/lab/eval/mcq_prompt.h"

namespace dissonance {

// What the variants answered.
struct McqAnswers {
  std::vector<std::vector<VariantScores>> scores;  // [item][variant]
  std::vector<v1::Provenance> provenance;          // [variant]
};

class McqScorer {
 public:
  McqScorer(ComputeClient& compute, std::vector<v1::Variant> variants,
            v1::McqScoring scoring, CallOptions call)
      : compute_(compute),
        variants_(std::move(variants)),
        scoring_(scoring),
        call_(std::move(call)) {}

  // Reads how many positions the models have, and chooses the format: plain
  // text unless every model has a chat template. Gives the name of the first
  // model without one, or an empty string.
  absl::StatusOr<std::string> ReadModels();
  const McqPromptFormat& format() const { return format_; }

  // That the questions fit the models' positions, so that one too long for
  // them is found before others are computed, not after. Annotates what is
  // wrong with the question's id. CANCELLED if the call is.
  absl::Status CheckLengths(absl::Span<const McqItem> items);

  // The prompt as the first variant's model sees it.
  absl::StatusOr<McqPrompt> Render(const McqItem& item);

  // All variants on all items, in one call, without dropout.
  absl::StatusOr<McqAnswers> Score(absl::Span<const McqItem> items);

 private:
  ComputeClient& compute_;
  const std::vector<v1::Variant> variants_;
  const v1::McqScoring scoring_;
  const CallOptions call_;
  McqPromptFormat format_;
  int64_t max_positions_ = std::numeric_limits<int64_t>::max();
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_MCQ_SCORER_H_
