// One step's sequences packed into a TokenBatch, and the way back from packed
// rows to sequences. Rows are ordered prompt rows first, then by adapter, so
// that each adapter's rows lie together. Used by the engine's thread only.
#ifndef DISSONANCE_COMPUTE_ENGINE_STEP_BATCH_H_
#define DISSONANCE_COMPUTE_ENGINE_STEP_BATCH_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "src/compute/engine/sequence.h"
#include "src/compute/lora/batch_delta.h"
#include "src/compute/model/model.h"
#include "src/compute/model/token_batch.h"

namespace dissonance {

// One sequence's part of a step.
struct StepItem {
  StepWork work;
  KvCache* cache = nullptr;
  std::shared_ptr<const LoraAdapter> adapter;
  const DropoutKey* dropout = nullptr;
  // Filled by RunStep: one per wanted row.
  std::vector<RowResult> results;
};

// Runs the items through the model in one pass and fills their results. All
// items belong to `model`. Throws c10::Error as torch does.
void RunStep(const Model& model, bool reproducible,
             std::vector<StepItem>& items);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_STEP_BATCH_H_
