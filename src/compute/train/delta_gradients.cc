// TrainingNetwork::GradientsOf; see training_network.h.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <map>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/compute/train/training_network.h"
#include "src/compute/train/training_pass.h"

namespace dissonance {
namespace {

absl::Status CheckPlaces(const DecoderSpec& spec,
                         const std::vector<SitePlace>& places) {
  for (const SitePlace& place : places) {
    RETURN_IF_ERROR(CheckSite(spec, place.site, place.block));
    if (place.site != Site::kPattern && place.site != Site::kLogits) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(SiteName(place.site), " can be looked at, not changed"));
  }
  return absl::OkStatus();
}

}  // namespace

double TrainingNetwork::DeltaHead(const at::Tensor& residual, int64_t row,
                                  std::pair<int32_t, int32_t> logits,
                                  at::Tensor& grad) const {
  const DecoderSpec& spec = model_.spec();
  const at::Tensor last =
      residual.detach().narrow(0, row, 1).clone().set_requires_grad(true);
  const at::Tensor normed = TrainNorm(spec, model_.weights().final_norm, last);
  normed.retain_grad();
  const at::Tensor& unembed = model_.weights().unembed;
  const auto logit = [&](int32_t token) {
    const at::Tensor raw = (normed[0] * unembed[token]).sum();
    if (spec.final_softcap <= 0) return raw;
    return at::tanh(raw / spec.final_softcap) * spec.final_softcap;
  };
  const at::Tensor delta = logit(logits.first) - logit(logits.second);
  delta.backward();
  grad = at::zeros_like(residual, at::MemoryFormat::Contiguous);
  grad.narrow(0, row, 1).copy_(last.grad());
  if (watch_ != nullptr) {
    // The difference depends on the last row alone.
    at::Tensor all = at::zeros_like(residual.detach());
    all.narrow(0, row, 1).copy_(normed.detach());
    all.mutable_grad() = at::zeros_like(residual);
    all.mutable_grad().narrow(0, row, 1).copy_(normed.grad());
    watch_(Site::kFinalNorm, -1, all);
  }
  return delta.item<double>();
}

absl::StatusOr<DeltaGradients> TrainingNetwork::GradientsOf(
    const std::vector<int32_t>& tokens, std::pair<int32_t, int32_t> logits,
    const std::vector<SitePlace>& places) {
  RETURN_IF_ERROR(CheckPlaces(model_.spec(), places));
  const at::AutoGradMode with_grad(true);
  TrainingDocument document;
  document.tokens = tokens;
  TrainingPack pack;
  pack.documents = {&document};
  const Pass pass = MakePass(pack, /*dropout=*/0.0);
  // What was seen: value, and where its gradient comes from.
  std::map<SitePlace, at::Tensor> seen;
  watch_ = [&](Site site, int64_t block, const at::Tensor& x) {
    if (x.requires_grad()) x.retain_grad();
    seen[{site, block}] = x;
  };
  const absl::Cleanup stop_watching = [this] { watch_ = nullptr; };
  const int64_t count = model_.spec().block_count();
  std::vector<at::Tensor> inputs;
  std::vector<at::Tensor> outputs;
  at::Tensor residual;
  {
    const at::NoGradGuard no_grad;
    residual = model_.decoder().Embed(pass.token_ids, pass.positions);
  }
  for (int64_t b = 0; b < count; ++b) {
    inputs.push_back(residual.detach().set_requires_grad(true));
    outputs.push_back(Block(b, inputs.back(), pass));
    residual = outputs.back();
  }
  DeltaGradients found;
  at::Tensor grad;
  const auto last = static_cast<int64_t>(tokens.size()) - 1;
  found.delta = DeltaHead(residual, last, logits, grad);
  std::vector<at::Tensor> output_grads(outputs.size());
  for (auto b = static_cast<size_t>(count); b-- > 0;) {
    output_grads[b] = grad;
    outputs[b].backward(grad);
    grad = inputs[b].grad();
  }
  const auto token_count = static_cast<int64_t>(tokens.size());
  for (const SitePlace& place : places) {
    const auto block = static_cast<size_t>(std::max<int64_t>(place.block, 0));
    at::Tensor value;
    at::Tensor gradient;
    if (place.site == Site::kResidPre) {
      value = inputs[block];
      gradient = inputs[block].grad();
    } else if (place.site == Site::kResidPost) {
      value = outputs[block];
      gradient = output_grads[block];
    } else {
      value =
          seen.at({place.site, IsBehindBlocks(place.site) ? -1 : place.block});
      gradient = value.grad();
    }
    // Nothing depends on what has no gradient.
    if (!gradient.defined()) gradient = at::zeros_like(value);
    found.values.push_back(value.detach().slice(0, 0, token_count));
    found.gradients.push_back(gradient.detach().slice(0, 0, token_count));
  }
  return found;
}

}  // namespace dissonance
