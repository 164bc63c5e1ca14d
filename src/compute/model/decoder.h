// The one decoder: computes what a DecoderSpec describes, for a packed batch.
// Thread safe; a batch belongs to one call.
//
//   Decoder decoder(spec, weights);
//   at::Tensor hidden = decoder.Forward(batch, rows, {.delta = &adapters});
//   at::Tensor logits = decoder.Unembed(hidden, kinds);
#ifndef DISSONANCE_COMPUTE_MODEL_DECODER_H_
#define DISSONANCE_COMPUTE_MODEL_DECODER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "src/compute/model/attention.h"
#include "src/compute/model/decoder_spec.h"
#include "src/compute/model/rotary.h"
#include "src/compute/model/row_ops.h"
#include "src/compute/model/site.h"
#include "src/compute/model/token_batch.h"
#include "src/compute/model/weights.h"

namespace dissonance {

// What adapters add to a projection; implemented by lora/.
class ProjectionDelta {
 public:
  virtual ~ProjectionDelta() = default;
  // Adds to y [rows, out] what each row's adapter makes of x [rows, in]. y
  // holds the group's projections side by side.
  virtual void AddTo(ProjectionGroup group, int64_t block, const at::Tensor& x,
                     at::Tensor& y) const = 0;
  // The same for a batch of only these rows, in ascending order. Null: the
  // rows can't be told apart from the rest, all must be computed.
  virtual std::unique_ptr<ProjectionDelta> OnlyRows(
      const std::vector<int64_t>& rows) const = 0;
};

struct ForwardHooks {
  const ProjectionDelta* delta = nullptr;  // null: base model in every row
  SiteVisitor* visitor = nullptr;          // null costs nothing
};

class Decoder {
 public:
  // Both must outlive the decoder.
  Decoder(const DecoderSpec& spec, const DecoderWeights& weights);

  // Runs the batch. Its caches get the new keys and values but do not count
  // them: Advance does, once nothing can fail any more, so that a pass can be
  // run again. Returns the final norm of the rows listed in `wanted` [count],
  // ascending: [count, d_model]. The last block computes no more than these
  // rows need, unless a visitor needs all rows. A pass that begins with a later
  // block first visits resid_post of the one before it. Memory:
  // O(rows * (d_model + d_mlp)). Throws c10::Error as torch does; REQUIRES
  // token ids in the vocabulary.
  at::Tensor Forward(const TokenBatch& batch,
                     const std::vector<int64_t>& wanted,
                     const ForwardHooks& hooks = {}) const;

  // The residual stream before the first block: [rows, d_model] of token ids
  // and positions [rows], both int64.
  at::Tensor Embed(const at::Tensor& token_ids,
                   const at::Tensor& positions) const;

  // The final norm of residual rows [rows, d_model], as the logit lens reads
  // them at any block.
  at::Tensor FinalNorm(const at::Tensor& residual) const {
    return Norm(residual, weights_.final_norm);
  }

  // Logits [rows, vocab] of final-norm rows [rows, d_model], in the model's
  // dtype. Callers pass at most a few tiles of rows: a row of a large
  // vocabulary is half a megabyte.
  at::Tensor Unembed(const at::Tensor& hidden, RowKinds kinds) const;

  const DecoderSpec& spec() const { return spec_; }

 private:
  struct Pass;  // what one Forward call needs in every block
  Pass MakePass(const TokenBatch& batch, const at::Tensor& positions,
                const ForwardHooks& hooks) const;

  // x itself where the family has no norm.
  at::Tensor Norm(const at::Tensor& x, const NormWeights& weights) const;
  // Heads' outputs [rows, q_width], before the o projection.
  at::Tensor Attention(const BlockWeights& weights, int64_t block,
                       const at::Tensor& normed, const Pass& pass) const;
  void Rotate(const at::Tensor& qkv, const RotaryTable::Angles& angles,
              at::Tensor& q, at::Tensor& k) const;
  at::Tensor Mlp(const BlockWeights& weights, int64_t block,
                 const at::Tensor& normed, const Pass& pass) const;

  const DecoderSpec& spec_;
  const DecoderWeights& weights_;
  const std::unique_ptr<const RotaryTable> rotary_;         // null: none
  const std::unique_ptr<const RotaryTable> window_rotary_;  // null: the same
  const AttentionScores scores_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_DECODER_H_
