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
  // What went into each block; its inside is computed again on the way back, so
  // that one block's graph is there at a time.
  std::vector<at::Tensor> inputs;
  at::Tensor residual;
  {
    const at::NoGradGuard no_grad;
    residual = model_.decoder().Embed(pass.token_ids, pass.positions);
    for (int64_t b = 0; b < model_.spec().block_count(); ++b) {
      inputs.push_back(residual);
      residual = Block(b, residual, pass);
    }
  }
  DeltaGradients found;
  found.values.resize(places.size());
  found.gradients.resize(places.size());
  std::map<SitePlace, at::Tensor> seen;  // of one block, or behind all
  watch_ = [&](Site site, int64_t block, const at::Tensor& x) {
    if (std::find(places.begin(), places.end(), SitePlace{site, block}) ==
        places.end()) {
      return;
    }
    if (x.requires_grad() && !x.is_leaf()) x.retain_grad();
    seen[{site, block}] = x;
  };
  const absl::Cleanup stop_watching = [this] { watch_ = nullptr; };
  const auto token_count = static_cast<int64_t>(tokens.size());
  const auto take = [&] {
    for (size_t p = 0; p < places.size(); ++p) {
      const auto own = seen.find(places[p]);
      if (own == seen.end()) continue;
      // Nothing depends on what has no gradient.
      const at::Tensor& gradient = own->second.grad();
      found.values[p] = own->second.detach().slice(0, 0, token_count);
      found.gradients[p] =
          (gradient.defined() ? gradient : at::zeros_like(found.values[p]))
              .slice(0, 0, token_count);
    }
    seen.clear();
  };
  at::Tensor grad;
  found.delta = DeltaHead(residual, token_count - 1, logits, grad);
  take();
  for (auto b = model_.spec().block_count(); b-- > 0;) {
    const at::Tensor input =
        inputs[static_cast<size_t>(b)].detach().set_requires_grad(true);
    inputs.pop_back();
    Show(Site::kResidPre, b, input);
    const at::Tensor output = Block(b, input, pass);
    Show(Site::kResidPost, b, output);
    output.backward(grad);
    grad = input.grad();
    take();
  }
  return found;
}

}  // namespace dissonance
