// A sequence's side of the engine: what it wants computed next, and what it
// makes of the answer. The engine knows nothing else of scoring or generating.
// Used by the engine's thread only.
#ifndef DISSONANCE_COMPUTE_ENGINE_SEQUENCE_H_
#define DISSONANCE_COMPUTE_ENGINE_SEQUENCE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace dissonance {

// A row whose next-token distribution is wanted.
struct WantedRow {
  int64_t row = 0;                     // within the work's rows
  std::vector<int32_t> target_tokens;  // whose log-probabilities
};

// The rows of one sequence in one step: see Segment for linear and tree rows.
struct StepWork {
  std::vector<int32_t> tokens;  // linear rows, then tree rows
  std::vector<int32_t> tree_parents;
  std::vector<WantedRow> wanted;
  bool is_prefill = true;

  int64_t linear_count() const {
    return static_cast<int64_t>(tokens.size() - tree_parents.size());
  }
};

struct RowResult {
  std::vector<double> target_logprobs;  // nats, one per target token
  int32_t best_token = 0;               // the most likely; first of equals
  double best_logprob = 0.0;
};

class Sequence {
 public:
  virtual ~Sequence() = default;

  // Tokens of the prompt; those after them are "generated".
  virtual int64_t prompt_count() const = 0;

  // Tokens that have to be kept for later steps, 0 if one step is enough.
  virtual int64_t cache_tokens() const = 0;

  // Rows of the next step. Depends on the sequence alone, never on the batch:
  // this is what makes chunking reproducible.
  virtual int64_t next_row_count() const = 0;

  // The next step. The same again until Accept is called.
  virtual StepWork Next() = 0;

  // Takes the results of Next()'s wanted rows. Returns whether more steps are
  // needed.
  virtual bool Accept(absl::Span<const RowResult> results) = 0;

  // Called once, last: OK after Accept returned false, else why it ended.
  virtual void Finish(const absl::Status& status) = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_SEQUENCE_H_
