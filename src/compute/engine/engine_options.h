// What an engine is told: its limits, which network computes a request, and
// whose turn comes first; and what it tells of itself. Values.
#ifndef DISSONANCE_COMPUTE_ENGINE_ENGINE_OPTIONS_H_
#define DISSONANCE_COMPUTE_ENGINE_ENGINE_OPTIONS_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "src/compute/interp/intervention.h"
#include "src/compute/lora/adapter.h"
#include "src/compute/lora/batch_delta.h"
#include "src/compute/model/model.h"
#include "src/compute/model/token_batch.h"

namespace dissonance {

struct EngineOptions {
  // Most rows of a step; longer prompts are computed in pieces. More rows use
  // the processor better, fewer give other requests their turn sooner. Rows
  // that begin with a later block count for less, a quarter at least.
  int64_t step_tokens = 1024;
  // Most prompt rows of a step in which an interactive request waits for its
  // next token: bounds the gap between its tokens.
  int64_t decode_step_tokens = 64;
  // Generation steps between two such steps: they bound what prompts take of
  // an interactive request's time.
  int64_t decode_steps_between = 3;
  // Rows of a sequence that attend together: pieces of a prompt are multiples
  // of it, and so are shared prefixes. Results may differ in the last bits
  // between two values of it.
  int64_t attention_tile = kAttentionTile;
  // Key/value caches in all. A request that needs more alone is refused.
  int64_t kv_cache_bytes = int64_t{4} << 30;
  // A request whose reader took nothing for so long gives its cache to one that
  // waits for room, and computes it again later.
  double reclaim_seconds = 1.0;
  // What is kept of prompts that were computed: keys and values, and up to a
  // quarter of it residual streams where interventions began. 0: nothing.
  int64_t prefix_cache_bytes = int64_t{1} << 30;
  // Activations that a step keeps, about; a sequence is computed in smaller
  // pieces for it.
  int64_t capture_bytes = int64_t{64} << 20;
  // Requests waiting; further ones are refused.
  int64_t queue_limit = 100000;
  // Of the time, what background work (training) gets while interactive
  // requests never cease. 0: nothing.
  double background_share = 0.1;
  // Bit-identical results whatever shares the batch; see row_ops.h.
  bool reproducible = true;
};

// Which network computes a request.
struct EngineVariant {
  std::shared_ptr<const Model> model;
  std::shared_ptr<const LoraAdapter> adapter = nullptr;  // null: base
  std::optional<DropoutKey> dropout = std::nullopt;      // Monte-Carlo dropout
  // From PrepareInterventions for this model; null: none.
  std::shared_ptr<const Interventions> interventions = nullptr;
};

// Whose prompts are computed first.
enum class Priority { kInteractive, kJob };

// Figures since the engine was made, and of now.
struct EngineStats {
  int64_t step_count = 0;
  int64_t background_piece_count = 0;
  int64_t prefill_token_count = 0;     // rows of prompts and continuations
  int64_t decode_token_count = 0;      // rows of generation steps
  int64_t prefix_hit_token_count = 0;  // taken from kept prefixes instead
  // Rows times blocks that a kept residual stream spared.
  int64_t spared_block_row_count = 0;
  int64_t started_sequence_count = 0;
  double queue_wait_seconds = 0.0;  // of all started sequences together
  // Given to others while their readers did not read.
  int64_t reclaimed_cache_count = 0;
  int64_t last_step_row_count = 0;
  // Now.
  int64_t sequence_count = 0;  // waiting and running
  // Whether there is something to compute: not while all that there is waits
  // for its listeners. Of an engine that has a thread.
  bool busy = false;
  int64_t kv_cache_bytes = 0;
  int64_t prefix_bytes = 0;
  int64_t trunk_bytes = 0;  // kept residual streams
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_ENGINE_OPTIONS_H_
