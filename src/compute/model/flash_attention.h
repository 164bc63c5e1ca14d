// Attention of many sequences in one call on a CUDA device: torch's flash
// attention for variable lengths (Dao 2023), straight over the slabs that hold
// their keys and values. Where rows lie is put on the device once a step and
// used by every block. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_FLASH_ATTENTION_H_
#define DISSONANCE_COMPUTE_MODEL_FLASH_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "src/compute/model/row_attention.h"
#include "src/compute/model/token_batch.h"

namespace dissonance {

// The linear rows of segments of one slab and one kind. Prompts and generation
// steps are apart: a row's kernel must not depend on what else is in the step.
struct FlashGroup {
  const KvSlab* slab = nullptr;  // null: the step's own keys and values
  at::Tensor rows;               // of the batch, int64
  at::Tensor places;             // of their keys in the slab, int64
  at::Tensor query_begins;       // int32 [segments + 1], within rows
  at::Tensor key_begins;         // int32 [segments + 1], in the slab
  at::Tensor key_counts;         // int32 [segments]
  int64_t most_queries = 0;      // of a segment
  int64_t most_keys = 0;
};

// Whether a device of that kind computes with that type: bfloat16 on CUDA
// (compute capability 8.0 or newer), heads of at most 256 in steps of 8, scores
// without a cap.
bool HasFlashAttention(const at::TensorOptions& options, int64_t head_dim,
                       AttentionScores scores);

// The batch's linear rows, all of them.
std::vector<FlashGroup> MakeFlashGroups(const TokenBatch& batch,
                                        const at::Device& device);

// The call itself: queries [rows, heads, head_dim] over keys and values
// [tokens, kv_heads, head_dim] as the group says, each row up to its own place;
// `window` 0: no limit. Returns [rows, heads, head_dim].
using FlashKernel = at::Tensor (*)(const FlashGroup& group,
                                   const at::Tensor& queries,
                                   const at::Tensor& keys,
                                   const at::Tensor& values, double scale,
                                   int64_t window);
at::Tensor TorchFlashKernel(const FlashGroup& group, const at::Tensor& queries,
                            const at::Tensor& keys, const at::Tensor& values,
                            double scale, int64_t window);

// Puts the group's k and v [rows, kv_heads, head_dim] of a block into its slab
// and writes its rows of z [rows, heads, head_dim].
void FlashAttend(const FlashGroup& group, FlashKernel kernel, double scale,
                 int64_t window, int64_t block, const at::Tensor& q,
                 const at::Tensor& k, const at::Tensor& v, at::Tensor& z);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_FLASH_ATTENTION_H_
