// One question of a running job, as it is recorded: all variants' answers with
// their tokens. Doubles survive the text bit for bit, so files made of records
// do not depend on when they were read back. Values and pure functions; thread
// safe.
//
//   std::string stored = EncodeRecord(record);
//   ASSIGN_OR_RETURN(OpenRecord same, DecodeOpenRecord(stored, "record 0"));
#ifndef DISSONANCE_LAB_ANSWERS_OPEN_RECORD_H_
#define DISSONANCE_LAB_ANSWERS_OPEN_RECORD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

struct OpenAnswer {
  std::string text;
  // "stop_token": it ended by itself; "length": it was cut.
  std::string finish_reason;
  uint64_t seed = 0;  // of the sampling; without meaning where it is greedy
  std::vector<int32_t> token_ids;
  // log P(token | everything before) in the model's own distribution, before
  // temperature and top-p; nats. One per token.
  std::vector<double> token_logprobs;
};

struct OpenRecord {
  std::string id;                                // the question's
  std::vector<std::vector<OpenAnswer>> answers;  // [variant][sample]
};

std::string EncodeRecord(const OpenRecord& record);

// DATA_LOSS, beginning with `where`, if the text is not a record.
absl::StatusOr<OpenRecord> DecodeOpenRecord(absl::string_view text,
                                            absl::string_view where);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ANSWERS_OPEN_RECORD_H_
