// One question of a running evaluation, as it is recorded: the prompt and the
// raw scores of all variants. Doubles survive the text bit for bit, so results
// computed from records do not depend on when they were read back. Values and
// pure functions; thread safe.
//
//   std::string stored = EncodeRecord(record);
//   ASSIGN_OR_RETURN(McqRecord same, DecodeRecord(stored, "item 0"));
#ifndef DISSONANCE_LAB_EVAL_MCQ_RECORD_H_
#define DISSONANCE_LAB_EVAL_MCQ_RECORD_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/lab/eval/mcq_files.h"
#include "src/lab/eval/mcq_prediction.h"

namespace dissonance {

struct McqRecord {
  std::string id;
  McqPrompt prompt;                     // of the first variant's model
  std::vector<VariantScores> variants;  // in the spec's order
};

std::string EncodeRecord(const McqRecord& record);

// DATA_LOSS, beginning with `where`, if the text is not a record.
absl::StatusOr<McqRecord> DecodeRecord(absl::string_view text,
                                       absl::string_view where);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_MCQ_RECORD_H_
