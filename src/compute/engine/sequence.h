// A sequence's side of the engine: what it wants computed next, and what it
// makes of the answer. The engine knows nothing else of scoring or generating.
// Used by the engine's thread only, but for ready().
#ifndef DISSONANCE_COMPUTE_ENGINE_SEQUENCE_H_
#define DISSONANCE_COMPUTE_ENGINE_SEQUENCE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "src/compute/interp/capture.h"

namespace dissonance {

// A row whose next-token distribution is wanted.
struct WantedRow {
  int64_t row = 0;                     // within the work's rows
  std::vector<int32_t> target_tokens;  // whose log-probabilities
  int64_t top_count = 0;               // most likely tokens wanted
  bool whole = false;                  // the distribution itself
};

// The rows of one sequence in one step: see Segment for linear and tree rows.
struct StepWork {
  std::vector<int32_t> tokens;  // linear rows, then tree rows
  std::vector<int32_t> tree_parents;
  std::vector<WantedRow> wanted;  // by ascending row
  bool is_prefill = true;

  int64_t linear_count() const {
    return static_cast<int64_t>(tokens.size() - tree_parents.size());
  }
};

struct RowResult {
  std::vector<double> target_logprobs;  // nats, one per target token
  int32_t best_token = 0;               // the most likely; first of equals
  double best_logprob = 0.0;
  // The most likely first, of equals the lower id: token, log-probability.
  std::vector<std::pair<int32_t, double>> top = {};
  // [vocab] of a row wanted whole, on the CPU, in float32 or float64.
  at::Tensor logits = {};
  at::Tensor logprobs = {};
};

// What a step gives back to a sequence.
struct StepResult {
  absl::Span<const RowResult> rows = {};  // of Next()'s wanted rows
  CapturedRows captured = {};             // of capture()
};

// The sequence's prompt is computed in pieces: the engine says how many rows
// may go into a step, always a multiple of the attention tile.
class Sequence {
 public:
  virtual ~Sequence() = default;

  // Tokens of the prompt; those after them are "generated".
  virtual int64_t prompt_count() const = 0;

  // Activations to keep; null: none.
  virtual const CaptureSpec* capture() const { return nullptr; }

  // Tokens to make room for if any have to be held from one step to another.
  virtual int64_t cache_tokens() const = 0;

  // The first tokens of the prompt, whose rows nobody looks at: they may be
  // taken from an earlier sequence. Empty: nothing may.
  virtual absl::Span<const int32_t> SharedPrefix() const { return {}; }
  // Begins behind that many of them. Call before the first step.
  virtual void SkipPrefix(int64_t /*count*/) {}

  // Whether Rewind may be called: it forgets what was computed, so that the
  // cache can be given to another. It is computed again, to the same bits,
  // before new results come.
  virtual bool can_rewind() const { return false; }
  virtual void Rewind() {}

  // Whether results can be taken now. Any thread.
  virtual bool ready() const { return true; }
  // Whether the next step is one of generation: a single row.
  virtual bool is_decoding() const { return false; }
  // Whether the next step is the only one, so that nothing has to be held.
  virtual bool fits_one_step(int64_t limit) const = 0;
  // Rows of the next step with at most `limit` rows of the prompt.
  virtual int64_t next_row_count(int64_t limit) const = 0;
  // The next step. The same again until Accept is called.
  virtual StepWork Next(int64_t limit) = 0;

  // Takes the results of the last Next(). Returns whether more steps are
  // needed.
  virtual bool Accept(StepResult result) = 0;

  // Called once, last: OK after Accept returned false, else why it ended.
  virtual void Finish(const absl::Status& status) = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_SEQUENCE_H_
