// One step's sequences packed into a TokenBatch, and the way back from packed
// rows to sequences, as a transaction: run, check, commit. Rows are ordered
// prompt rows first, then by adapter, so that each adapter's rows lie together.
// Used by the engine's thread only.
#ifndef DISSONANCE_COMPUTE_ENGINE_STEP_BATCH_H_
#define DISSONANCE_COMPUTE_ENGINE_STEP_BATCH_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "src/compute/engine/sequence.h"
#include "src/compute/interp/intervention.h"
#include "src/compute/lora/batch_delta.h"
#include "src/compute/model/model.h"
#include "src/compute/model/token_batch.h"

namespace dissonance {

// A sequence's residual stream at the entry of a block, before resid_post of
// the block before it is changed.
struct Trunk {
  int64_t block = 0;         // 0: none
  at::Tensor residual = {};  // [rows, d_model]
};

// One sequence's part of a step.
struct StepItem {
  StepWork work;
  KvCache* cache = nullptr;
  std::shared_ptr<const LoraAdapter> adapter;
  const DropoutKey* dropout = nullptr;
  int64_t prompt_count = 0;                      // of the sequence
  const Interventions* interventions = nullptr;  // null: none
  const CaptureSpec* capture = nullptr;          // null: none
  // Where it begins; only of a sequence without a cache.
  Trunk trunk = {};
  int64_t kept_block = 0;  // whose trunk is kept; 0: none is
  // Filled by RunStep.
  std::vector<RowResult> results = {};  // one per wanted row
  CapturedRows captured = {};
  Trunk kept_trunk = {};
};

// How all steps of an engine compute.
struct StepNumerics {
  bool reproducible = true;
  int64_t attention_tile = kAttentionTile;
};

// Runs the items through the model, those that begin with the same block in one
// pass, and fills their results. All items belong to `model`. Until CommitStep
// it can be run again: the caches do not count the new tokens. `visitor` sees
// each site after the items' interventions. Throws c10::Error as torch does.
void RunStep(const Model& model, StepNumerics numerics,
             std::vector<StepItem>& items, SiteVisitor* visitor = nullptr);

// OK if the item's numbers are finite, else INTERNAL with the first block and
// site whose activations are not, found by running the item once more.
absl::Status CheckFinite(const Model& model, StepNumerics numerics,
                         const StepItem& item);

// Counts the item's new tokens as held by its cache.
void CommitStep(const StepItem& item);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_STEP_BATCH_H_
