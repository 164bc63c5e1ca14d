#include "src/compute/model/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "src/compute/model/experts.h"
#include "src/compute/model/flash_attention.h"

namespace dissonance {
namespace {

at::Tensor IndexTensor(const std::vector<int64_t>& values,
                       const at::Device& device) {
  return at::tensor(values, at::kLong).to(device);
}

std::unique_ptr<RotaryTable> MakeTable(const RopeSpec& rope,
                                       const at::TensorOptions& options) {
  if (rope.width == 0) return nullptr;
  return std::make_unique<RotaryTable>(rope, options);
}

}  // namespace

struct Decoder::Pass {
  const TokenBatch& batch;
  const ForwardHooks& hooks;
  RowKinds kinds;
  RotaryTable::Angles angles;         // undefined without rotary
  RotaryTable::Angles window_angles;  // of blocks with a rope of their own
  // One list of masks, a segment each, for every window in use.
  std::map<int64_t, std::vector<SegmentMask>> masks;
  std::vector<FlashGroup> flash;  // empty: attention by segment
  const ProjectionDelta* delta = nullptr;
  std::unique_ptr<ProjectionDelta> narrowed_delta;  // after Narrow
  bool narrowed = false;

  void Visit(Site site, int64_t block, at::Tensor& x) const {
    if (hooks.visitor != nullptr) hooks.visitor->Visit(site, block, x);
  }

  // From here on only these rows are computed. False: they can't be alone.
  bool Narrow(int64_t block, const std::vector<int64_t>& rows) {
    if (hooks.visitor != nullptr && hooks.visitor->NeedsAllRows(block)) {
      return false;
    }
    if (delta != nullptr) {
      narrowed_delta = delta->OnlyRows(rows);
      if (narrowed_delta == nullptr) return false;
      delta = narrowed_delta.get();
    }
    narrowed = true;
    if (hooks.visitor != nullptr) hooks.visitor->Narrowed();
    kinds.prefill = std::lower_bound(rows.begin(), rows.end(), kinds.prefill) -
                    rows.begin();
    return true;
  }

  at::Tensor Project(const LinearWeights& weights, ProjectionGroup group,
                     int64_t block, const at::Tensor& x) const {
    at::Tensor y = RowLinear(x, weights.weight, weights.bias, kinds);
    if (delta != nullptr) delta->AddTo(group, block, x, y);
    return y;
  }
};

Decoder::Decoder(const DecoderSpec& spec, const DecoderWeights& weights)
    : spec_(spec),
      weights_(weights),
      rotary_(MakeTable(spec.rope, weights.embed.options())),
      window_rotary_(MakeTable(spec.window_rope.value_or(RopeSpec{}),
                               weights.embed.options())),
      scores_(
          {.scale = spec.attn_scale > 0
                        ? spec.attn_scale
                        : 1.0 / std::sqrt(static_cast<double>(spec.head_dim)),
           .softcap = spec.attn_softcap}) {}

at::Tensor Decoder::Norm(const at::Tensor& x,
                         const NormWeights& weights) const {
  if (!weights.weight.defined()) return x;
  if (spec_.norm != NormKind::kLayer) {
    return RmsNorm(x, weights.weight, spec_.norm_eps);
  }
  return at::layer_norm(x, {x.size(-1)}, weights.weight, weights.bias,
                        spec_.norm_eps);
}

at::Tensor Decoder::Embed(const at::Tensor& token_ids,
                          const at::Tensor& positions) const {
  at::Tensor residual = weights_.embed.index_select(0, token_ids);
  if (spec_.embed_scale != 1.0) {
    residual.mul_(at::scalar_tensor(spec_.embed_scale, residual.options()));
  }
  if (weights_.positions.defined()) {
    residual.add_(weights_.positions.index_select(0, positions));
  }
  return residual;
}

// q and k at once where they still are side by side in `qkv`.
void Decoder::Rotate(const at::Tensor& qkv, const RotaryTable::Angles& angles,
                     at::Tensor& q, at::Tensor& k) const {
  if (q.is_alias_of(qkv) && k.is_alias_of(qkv)) {
    const int64_t heads = spec_.head_count + spec_.kv_head_count;
    at::Tensor both = qkv.narrow(1, 0, heads * spec_.head_dim)
                          .view({qkv.size(0), heads, spec_.head_dim});
    ApplyRotary(both, angles.cos, angles.sin);
    return;
  }
  ApplyRotary(q, angles.cos, angles.sin);
  ApplyRotary(k, angles.cos, angles.sin);
}

at::Tensor Decoder::Attention(const BlockWeights& weights, int64_t block,
                              const at::Tensor& normed,
                              const Pass& pass) const {
  const int64_t rows = normed.size(0);
  const at::Tensor qkv =
      pass.Project(weights.qkv, ProjectionGroup::kQkv, block, normed);
  const auto columns = [&](int64_t head, int64_t count,
                           const NormWeights* whole_norm) {
    at::Tensor own =
        qkv.narrow(1, head * spec_.head_dim, count * spec_.head_dim);
    if (whole_norm != nullptr) own = Norm(own, *whole_norm);
    return own.view({rows, count, spec_.head_dim});
  };
  const bool whole = spec_.qk_norm == QkNorm::kWhole;
  at::Tensor q =
      columns(0, spec_.head_count, whole ? &weights.q_norm : nullptr);
  at::Tensor k = columns(spec_.head_count, spec_.kv_head_count,
                         whole ? &weights.k_norm : nullptr);
  at::Tensor v = columns(spec_.head_count + spec_.kv_head_count,
                         spec_.kv_head_count, nullptr);
  if (spec_.qk_norm == QkNorm::kHead) {
    q = Norm(q, weights.q_norm);
    k = Norm(k, weights.k_norm);
  }
  pass.Visit(Site::kQ, block, q);
  pass.Visit(Site::kK, block, k);
  pass.Visit(Site::kV, block, v);
  const int64_t window = spec_.blocks[static_cast<size_t>(block)].window;
  const RotaryTable::Angles& angles =
      spec_.uses_window_rope(block) ? pass.window_angles : pass.angles;
  if (angles.cos.defined()) Rotate(qkv, angles, q, k);

  at::Tensor z =
      at::empty({rows, spec_.head_count, spec_.head_dim}, normed.options());
  const std::vector<SegmentMask>& masks = pass.masks.at(window);
  for (const FlashGroup& group : pass.flash) {
    FlashAttend(group, TorchFlashKernel, scores_.scale, window, block, q, k, v,
                z);
  }
  std::vector<RowQuery> single_rows;
  for (size_t s = 0; s < masks.size(); ++s) {
    const Segment& segment = pass.batch.segments[s];
    const auto own = [&segment](const at::Tensor& x) {
      return x.narrow(0, segment.row_begin, segment.row_count());
    };
    if (!pass.flash.empty()) {
      if (!segment.tree_parents.empty()) {
        AttendTree(segment, masks[s], scores_, block, own(q), own(k), own(v),
                   own(z));
      }
    } else if (segment.linear_count == 1 && segment.tree_parents.empty() &&
               HasRowAttention(q)) {
      single_rows.push_back(
          MakeRowQuery(segment, masks[s], block, own(k), own(v)));
    } else {
      AttendSegment(segment, masks[s], scores_, block, own(q), own(k), own(v),
                    own(z));
    }
    if (pass.hooks.visitor != nullptr &&
        pass.hooks.visitor->WantsPattern(block, segment.row_begin,
                                         segment.row_count())) {
      pass.hooks.visitor->VisitPattern(
          block, segment.row_begin,
          AttentionPattern(segment, masks[s], scores_, block, own(q), own(k)));
    }
  }
  AttendRows(single_rows, scores_, q, z);
  pass.Visit(Site::kZ, block, z);
  return z.view({rows, spec_.q_width()});
}

at::Tensor Decoder::Mlp(const BlockWeights& weights, int64_t block,
                        const at::Tensor& normed, const Pass& pass) const {
  if (spec_.blocks[static_cast<size_t>(block)].has_experts) {
    return RunExperts(spec_, weights, normed, pass.kinds);
  }
  const at::Tensor up =
      pass.Project(weights.gate_up, ProjectionGroup::kGateUp, block, normed);
  at::Tensor hidden = spec_.gated ? GatedActivation(up, spec_.activation)
                                  : Activate(up, spec_.activation);
  pass.Visit(Site::kMlpHidden, block, hidden);
  return pass.Project(weights.down, ProjectionGroup::kDown, block, hidden);
}

Decoder::Pass Decoder::MakePass(const TokenBatch& batch,
                                const at::Tensor& positions,
                                const ForwardHooks& hooks) const {
  Pass pass{
      .batch = batch,
      .hooks = hooks,
      .kinds = {.prefill = batch.prefill_rows, .tiled = batch.reproducible},
      .angles = {},
      .window_angles = {},
      .masks = {},
      .flash = {},
      .delta = hooks.delta,
      .narrowed_delta = nullptr,
      .narrowed = false};
  const int64_t limit =
      *std::max_element(batch.positions.begin(), batch.positions.end()) + 1;
  if (rotary_ != nullptr) pass.angles = rotary_->At(positions, limit);
  if (window_rotary_ != nullptr) {
    pass.window_angles = window_rotary_->At(positions, limit);
  }
  if (HasFlashAttention(weights_.embed.options(), spec_.head_dim, scores_)) {
    pass.flash = MakeFlashGroups(batch, positions.device());
  }
  for (const BlockSpec& block : spec_.blocks) {
    std::vector<SegmentMask>& masks = pass.masks[block.window];
    if (!masks.empty()) continue;
    for (const Segment& segment : batch.segments) {
      masks.push_back(MakeSegmentMask(segment, batch.attention_tile,
                                      block.window, positions.device()));
    }
  }
  return pass;
}

at::Tensor Decoder::Forward(const TokenBatch& batch,
                            const std::vector<int64_t>& wanted,
                            const ForwardHooks& hooks) const {
  const at::NoGradGuard no_grad;
  const at::Device device = weights_.embed.device();
  const at::Tensor positions = IndexTensor(batch.positions, device);
  Pass pass = MakePass(batch, positions, hooks);
  const at::Tensor wanted_rows = IndexTensor(wanted, device);
  const int64_t first = batch.first_block;
  at::Tensor residual =
      first > 0 ? batch.residual
                : Embed(IndexTensor(batch.token_ids, device), positions);
  if (first > 0) pass.Visit(Site::kResidPost, first - 1, residual);
  for (int64_t b = first; b < spec_.block_count(); ++b) {
    const BlockWeights& block = weights_.blocks[static_cast<size_t>(b)];
    pass.Visit(Site::kResidPre, b, residual);
    at::Tensor z = Attention(block, b, Norm(residual, block.attn_norm), pass);
    if (b + 1 == spec_.block_count() && pass.Narrow(b, wanted)) {
      z = z.index_select(0, wanted_rows);
      residual = residual.index_select(0, wanted_rows);
    }
    at::Tensor attn_out = Norm(pass.Project(block.o, ProjectionGroup::kO, b, z),
                               block.attn_post_norm);
    pass.Visit(Site::kAttnOut, b, attn_out);
    if (!spec_.parallel_residual) {
      residual.add_(attn_out);
      pass.Visit(Site::kResidMid, b, residual);
    }
    at::Tensor mlp_out =
        Norm(Mlp(block, b, Norm(residual, block.mlp_norm), pass),
             block.mlp_post_norm);
    pass.Visit(Site::kMlpOut, b, mlp_out);
    // transformers' order of the parallel sum.
    if (spec_.parallel_residual) mlp_out.add_(attn_out);
    residual.add_(mlp_out);
    pass.Visit(Site::kResidPost, b, residual);
  }
  if (!pass.narrowed) residual = residual.index_select(0, wanted_rows);
  at::Tensor final_norm = FinalNorm(residual);
  pass.Visit(Site::kFinalNorm, -1, final_norm);
  return final_norm;
}

at::Tensor Decoder::Unembed(const at::Tensor& hidden, RowKinds kinds) const {
  const at::NoGradGuard no_grad;
  at::Tensor logits = RowLinear(hidden, weights_.unembed, std::nullopt, kinds);
  if (spec_.final_softcap > 0) SoftcapRows(logits, spec_.final_softcap);
  return logits;
}

}  // namespace dissonance
