#include "src/compute/train/non_finite.h"

#include <ATen/core/Tensor.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

constexpr absl::string_view kAdvice =
    "; start again with a lower learning rate or max_grad_norm, from the "
    "beginning or from the adapter of an earlier checkpoint";

bool IsFinite(const at::Tensor& x) { return x.isfinite().all().item<bool>(); }

TrainingPack Alone(const TrainingPack& pack, size_t document) {
  return {.documents = {pack.documents[document]},
          .dropout_keys = {
              pack.dropout_keys.empty() ? 0 : pack.dropout_keys[document]}};
}

absl::Status Error(int64_t step, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("step ", step, ": ", what, kAdvice));
}

std::string DocumentText(const TrainingPack& pack) {
  return absl::StrCat("the document of line ", pack.documents.front()->line);
}

// The module of the lowest block whose gradient is not finite; empty: none.
std::string BadModule(const TrainingNetwork& network,
                      const LoraParameters& lora) {
  for (size_t i = 0; i < lora.modules().size(); ++i) {
    if (!IsFinite(lora.ViewA(network.grad(), i)) ||
        !IsFinite(lora.ViewB(network.grad(), i))) {
      return absl::StrCat("block ", lora.modules()[i].block, " (",
                          lora.modules()[i].name, ")");
    }
  }
  return "";
}

}  // namespace

absl::Status NonFiniteLoss(TrainingNetwork& network, const TrainingPack& pack,
                           int64_t step) {
  for (size_t d = 0; d < pack.documents.size(); ++d) {
    const TrainingPack alone = Alone(pack, d);
    const int64_t block = network.FirstNonFiniteBlock(alone);
    if (block < 0) continue;
    return Error(step, absl::StrCat("the activations of ", DocumentText(alone),
                                    " are not finite after block ", block));
  }
  return Error(step,
               absl::StrCat("the loss of ", DocumentText(pack),
                            " and those computed with it is not finite, though "
                            "all blocks' activations are"));
}

absl::Status NonFiniteGradient(TrainingNetwork& network,
                               const LoraParameters& lora,
                               const std::vector<TrainingPack>& packs,
                               int64_t step) {
  const std::string module = BadModule(network, lora);
  for (const TrainingPack& pack : packs) {
    for (size_t d = 0; d < pack.documents.size(); ++d) {
      const TrainingPack alone = Alone(pack, d);
      at::Tensor grad = network.grad();
      grad.zero_();
      network.Accumulate(alone, 1.0);
      const std::string own = BadModule(network, lora);
      if (own.empty()) continue;
      return Error(step, absl::StrCat("the gradient of ", DocumentText(alone),
                                      " is not finite in ", own));
    }
  }
  return Error(step,
               module.empty()
                   ? "the gradient's norm is not finite"
                   : absl::StrCat("the gradient is not finite in ", module));
}

}  // namespace dissonance
