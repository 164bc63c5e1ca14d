// Questions into Score requests, and responses into raw scores that have been
// checked. Pure functions; thread safe.
//
//   v1::ScoreRequest request = MakeScoreRequest(batch, variants, scoring,
//                                               format);
//   ASSIGN_OR_RETURN(v1::ScoreResponse response, compute.Score(request, {}));
//   ASSIGN_OR_RETURN(McqScoreGrid grid,
//                    UnpackScores(request, response, scoring));
//   const RawScores& raw = grid[variant][item][sample];
#ifndef DISSONANCE_LAB_EVAL_MCQ_SCORES_H_
#define DISSONANCE_LAB_EVAL_MCQ_SCORES_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dissonance/v1/inference.pb.h"
#include "src/lab/eval/mcq_data.h"
#include "src/lab/eval/mcq_prediction.h"
#include "src/lab/eval/mcq_prompt.h"

namespace dissonance {

// All variants on all items; the prompts' ids are the items' ids.
v1::ScoreRequest MakeScoreRequest(absl::Span<const McqItem> items,
                                  absl::Span<const v1::Variant> variants,
                                  v1::McqScoring scoring,
                                  const McqPromptFormat& format);

// [variant][item][sample], as the request numbers them.
using McqScoreGrid = std::vector<std::vector<std::vector<RawScores>>>;

// INTERNAL if the response is not one to the request: a score or provenance
// missing, a score double or not finite. FAILED_PRECONDITION if the letters
// share their first token, so that letter_first_token can't tell them apart.
absl::StatusOr<McqScoreGrid> UnpackScores(const v1::ScoreRequest& request,
                                          const v1::ScoreResponse& response,
                                          v1::McqScoring scoring);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_MCQ_SCORES_H_
