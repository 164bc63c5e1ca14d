// The decoder of decoder.h with a backward pass: the same mathematics for a
// pack of whole documents, block by block, so that a block's activations are
// there only between its two passes, or only during its backward pass with
// activation checkpointing. Gradients exist of the adapter's numbers alone, and
// nothing is computed backward below the first adapted block. One thread at a
// time.
//
//   TrainingNetwork network(*model, lora, {});
//   double nats = *network.Accumulate(pack, /*weight=*/1.0 / targets);
//   network.grad();  // laid out like lora.flat()
#ifndef DISSONANCE_COMPUTE_TRAIN_TRAINING_NETWORK_H_
#define DISSONANCE_COMPUTE_TRAIN_TRAINING_NETWORK_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "src/compute/interp/capture.h"
#include "src/compute/lora/adapter.h"
#include "src/compute/lora/lora_parameters.h"
#include "src/compute/model/model.h"
#include "src/compute/model/rotary.h"
#include "src/compute/train/train_ops.h"
#include "src/compute/train/training_options.h"

namespace dissonance {

// Documents that are computed together; shortest first, so that equal ones are
// neighbours.
struct TrainingPack {
  std::vector<const TrainingDocument*> documents;
  // Of each document: what its dropout follows from.
  std::vector<uint64_t> dropout_keys = {};

  int64_t token_count() const;
  int64_t target_count() const;
};

// A logit difference, and how it changes with activations on the way.
struct DeltaGradients {
  double delta = 0.0;  // logit of the first token less that of the second
  // By place: the activations and the difference's derivatives by them,
  // [tokens, width] or [tokens, heads, head_dim], in the model's type.
  std::vector<at::Tensor> values;
  std::vector<at::Tensor> gradients;
};

class TrainingNetwork {
 public:
  struct Options {
    double dropout = 0.0;  // of the adapters' input, in Accumulate
    bool activation_checkpointing = false;
  };

  // Borrows both; `lora` may change between calls.
  TrainingNetwork(const Model& model, const LoraParameters& lora,
                  const Options& options);
  // Nothing is trained: the network as it is, with an adapter (null: without).
  // Copies what it needs of the adapter.
  TrainingNetwork(const Model& model, const LoraAdapter* adapter);

  // Of the next-token logits after the last of `tokens`: a pass forward and one
  // back, which computes each block again, for all places. INVALID_ARGUMENT for
  // a site that has no gradient of its own: pattern and logits.
  absl::StatusOr<DeltaGradients> GradientsOf(
      const std::vector<int32_t>& tokens, std::pair<int32_t, int32_t> logits,
      const std::vector<SitePlace>& places);

  // The documents' loss, the sum over their targets in nats; adds `weight`
  // times its gradient to grad(). Throws c10::Error as torch does.
  double Accumulate(const TrainingPack& pack, double weight);
  // The same without dropout and gradient.
  double Loss(const TrainingPack& pack);

  // The first block after which a number of the pack's rows is not finite,
  // computed again without gradients; -1: none.
  int64_t FirstNonFiniteBlock(const TrainingPack& pack);

  // Called after each block of either pass, on the caller's thread.
  void SetProgress(std::function<void()> progress) {
    progress_ = std::move(progress);
  }

  const at::Tensor& grad() const { return grad_; }

 private:
  struct Pass;
  using BlockModules = std::array<std::vector<TrainModule>, kGroupCount>;

  Pass MakePass(const TrainingPack& pack, double dropout) const;
  // Shows x to who watches the site; x itself.
  const at::Tensor& Show(Site site, int64_t block, const at::Tensor& x) const {
    if (watch_ != nullptr) watch_(site, block, x);
    return x;
  }
  // The difference, and its derivatives by the last residual rows.
  double DeltaHead(const at::Tensor& residual, int64_t row,
                   std::pair<int32_t, int32_t> logits, at::Tensor& grad) const;
  at::Tensor Block(int64_t block, const at::Tensor& residual,
                   const Pass& pass) const;
  at::Tensor Attention(int64_t block, const at::Tensor& normed,
                       const Pass& pass) const;
  at::Tensor Mlp(int64_t block, const at::Tensor& normed,
                 const Pass& pass) const;
  at::Tensor Linear(int64_t block, ProjectionGroup group,
                    const LinearWeights& weights, const at::Tensor& x,
                    const Pass& pass) const;
  // The loss of the last residual rows; with a weight also their gradient.
  double Head(const at::Tensor& residual, const Pass& pass, double weight,
              at::Tensor* grad) const;

  const Model& model_;
  const Options options_;
  at::Tensor grad_;
  at::Tensor anchor_;  // see TrainLinear
  std::function<void()> progress_ = [] {};
  std::function<void(Site, int64_t, const at::Tensor&)> watch_ = nullptr;
  std::vector<LoraParameter> frozen_;  // of an adapter that is not trained
  std::vector<BlockModules> modules_;
  int64_t first_block_ = 0;  // the first adapted one
  std::unique_ptr<const RotaryTable> rotary_;
  std::unique_ptr<const RotaryTable> window_rotary_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TRAINING_NETWORK_H_
