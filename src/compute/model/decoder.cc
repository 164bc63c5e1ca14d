#include "src/compute/model/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <map>

namespace dissonance {
namespace {

at::Tensor IndexTensor(const std::vector<int64_t>& values,
                       const at::Device& device) {
  return at::tensor(values, at::kLong).to(device);
}

void Visit(const ForwardHooks& hooks, Site site, int64_t block, at::Tensor& x) {
  if (hooks.visitor != nullptr) hooks.visitor->Visit(site, block, x);
}

}  // namespace

absl::string_view SiteName(Site site) {
  switch (site) {
    case Site::kResidPre:
      return "resid_pre";
    case Site::kAttnOut:
      return "attn_out";
    case Site::kResidMid:
      return "resid_mid";
    case Site::kMlpOut:
      return "mlp_out";
    case Site::kResidPost:
      return "resid_post";
    case Site::kZ:
      return "z";
    case Site::kFinalNorm:
      return "final_norm";
  }
  return "unknown";
}

struct Decoder::Pass {
  const TokenBatch& batch;
  const ForwardHooks& hooks;
  RowKinds kinds;
  RotaryTable::Angles angles;
  // One list of masks, a segment each, for every window in use.
  std::map<int64_t, std::vector<SegmentMask>> masks;
  const ProjectionDelta* delta = nullptr;
  std::unique_ptr<ProjectionDelta> narrowed_delta;  // after Narrow

  // From here on only these rows are computed. False: they can't be alone.
  bool Narrow(const std::vector<int64_t>& rows) {
    if (hooks.visitor != nullptr) return false;
    if (delta != nullptr) {
      narrowed_delta = delta->OnlyRows(rows);
      if (narrowed_delta == nullptr) return false;
      delta = narrowed_delta.get();
    }
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
      rotary_(spec.rope, spec.head_dim, weights.embed.options()) {}

at::Tensor Decoder::Attention(const BlockWeights& weights, int64_t block,
                              const at::Tensor& normed,
                              const Pass& pass) const {
  const int64_t rows = normed.size(0);
  const at::Tensor qkv =
      pass.Project(weights.qkv, ProjectionGroup::kQkv, block, normed);
  const auto heads = [&](int64_t column, int64_t count) {
    return qkv.narrow(1, column * spec_.head_dim, count * spec_.head_dim)
        .view({rows, count, spec_.head_dim});
  };
  at::Tensor q = heads(0, spec_.head_count);
  at::Tensor k = heads(spec_.head_count, spec_.kv_head_count);
  const at::Tensor v =
      heads(spec_.head_count + spec_.kv_head_count, spec_.kv_head_count);
  if (spec_.qk_norm) {
    q = RmsNorm(q, weights.q_norm, spec_.norm_eps);
    k = RmsNorm(k, weights.k_norm, spec_.norm_eps);
  }
  ApplyRotary(q, pass.angles.cos, pass.angles.sin);
  ApplyRotary(k, pass.angles.cos, pass.angles.sin);

  at::Tensor z =
      at::empty({rows, spec_.head_count, spec_.head_dim}, normed.options());
  const int64_t window = spec_.blocks[static_cast<size_t>(block)].window;
  const std::vector<SegmentMask>& masks = pass.masks.at(window);
  for (size_t s = 0; s < masks.size(); ++s) {
    const Segment& segment = pass.batch.segments[s];
    const auto own = [&segment](const at::Tensor& x) {
      return x.narrow(0, segment.row_begin, segment.row_count());
    };
    AttendSegment(segment, masks[s], block, own(q), own(k), own(v), own(z));
  }
  Visit(pass.hooks, Site::kZ, block, z);
  return z.view({rows, spec_.q_width()});
}

at::Tensor Decoder::Mlp(const BlockWeights& weights, int64_t block,
                        const at::Tensor& normed, const Pass& pass) const {
  const at::Tensor gate_up =
      pass.Project(weights.gate_up, ProjectionGroup::kGateUp, block, normed);
  return pass.Project(weights.down, ProjectionGroup::kDown, block,
                      SwiGlu(gate_up));
}

at::Tensor Decoder::Forward(const TokenBatch& batch,
                            const std::vector<int64_t>& wanted,
                            const ForwardHooks& hooks) const {
  const at::NoGradGuard no_grad;
  const at::Device device = weights_.embed.device();
  const at::Tensor positions = IndexTensor(batch.positions, device);
  const int64_t limit =
      *std::max_element(batch.positions.begin(), batch.positions.end()) + 1;
  Pass pass{
      .batch = batch,
      .hooks = hooks,
      .kinds = {.prefill = batch.prefill_rows, .tiled = batch.reproducible},
      .angles = rotary_.At(positions, limit),
      .masks = {},
      .delta = hooks.delta,
      .narrowed_delta = nullptr};
  for (const BlockSpec& block : spec_.blocks) {
    std::vector<SegmentMask>& masks = pass.masks[block.window];
    if (!masks.empty()) continue;
    for (const Segment& segment : batch.segments) {
      masks.push_back(MakeSegmentMask(segment, block.window, device));
    }
  }

  const at::Tensor wanted_rows = IndexTensor(wanted, device);
  bool narrow = false;  // whether only the wanted rows are left
  at::Tensor residual = weights_.embed.index_select(
      0, IndexTensor(batch.token_ids, device));  // [rows, d_model]
  for (int64_t b = 0; b < spec_.block_count(); ++b) {
    const BlockWeights& block = weights_.blocks[static_cast<size_t>(b)];
    Visit(hooks, Site::kResidPre, b, residual);
    at::Tensor z = Attention(
        block, b, RmsNorm(residual, block.attn_norm, spec_.norm_eps), pass);
    if (b + 1 == spec_.block_count() && pass.Narrow(wanted)) {
      narrow = true;
      z = z.index_select(0, wanted_rows);
      residual = residual.index_select(0, wanted_rows);
    }
    at::Tensor attn_out = pass.Project(block.o, ProjectionGroup::kO, b, z);
    Visit(hooks, Site::kAttnOut, b, attn_out);
    residual.add_(attn_out);
    Visit(hooks, Site::kResidMid, b, residual);
    at::Tensor mlp_out =
        Mlp(block, b, RmsNorm(residual, block.mlp_norm, spec_.norm_eps), pass);
    Visit(hooks, Site::kMlpOut, b, mlp_out);
    residual.add_(mlp_out);
    Visit(hooks, Site::kResidPost, b, residual);
  }
  if (!narrow) residual = residual.index_select(0, wanted_rows);
  at::Tensor final_norm =
      RmsNorm(residual, weights_.final_norm, spec_.norm_eps);
  Visit(hooks, Site::kFinalNorm, -1, final_norm);
  return final_norm;
}

at::Tensor Decoder::Unembed(const at::Tensor& hidden, RowKinds kinds) const {
  const at::NoGradGuard no_grad;
  return RowLinear(hidden, weights_.unembed, std::nullopt, kinds);
}

}  // namespace dissonance
