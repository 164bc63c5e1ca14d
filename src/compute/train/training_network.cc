#include "src/compute/train/training_network.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "src/base/mix.h"
#include "src/compute/train/token_loss.h"
#include "src/compute/train/train_experts.h"
#include "src/compute/train/train_kernels.h"
#include "src/compute/train/training_pass.h"

namespace dissonance {
namespace {

std::unique_ptr<RotaryTable> MakeTable(const RopeSpec& rope,
                                       const at::TensorOptions& options) {
  if (rope.width == 0) return nullptr;
  return std::make_unique<RotaryTable>(rope, options);
}

// Packs are filled up to one of 16 sizes between a power of two and the next,
// by a document that nobody looks at: oneDNN compiles each new shape of a
// product and keeps it.
constexpr uint64_t kSizesPerOctave = 16;
constexpr uint64_t kLeastStep = 32;

int64_t Missing(size_t rows) {
  const uint64_t step =
      std::max(kLeastStep, std::bit_floor(rows) / kSizesPerOctave);
  return static_cast<int64_t>((step - rows % step) % step);
}

at::Tensor IndexTensor(const std::vector<int64_t>& values,
                       const at::Device& device) {
  return at::tensor(values, at::kLong).to(device);
}

}  // namespace

int64_t TrainingPack::token_count() const {
  int64_t count = 0;
  for (const TrainingDocument* document : documents) {
    count += static_cast<int64_t>(document->tokens.size());
  }
  return count;
}

int64_t TrainingPack::target_count() const {
  int64_t count = 0;
  for (const TrainingDocument* document : documents) {
    count += document->target_count();
  }
  return count;
}

TrainingNetwork::TrainingNetwork(const Model& model, const LoraParameters& lora,
                                 const Options& options)
    : model_(model),
      options_(options),
      grad_(at::zeros_like(lora.flat())),
      anchor_(at::zeros({1}, at::TensorOptions().device(model.device()))
                  .set_requires_grad(true)),
      rotary_(MakeTable(model.spec().rope, model.weights().embed.options())),
      window_rotary_(MakeTable(model.spec().window_rope.value_or(RopeSpec{}),
                               model.weights().embed.options())) {
  modules_.resize(static_cast<size_t>(model.spec().block_count()));
  first_block_ = model.spec().block_count();
  for (size_t i = 0; i < lora.modules().size(); ++i) {
    const LoraParameter& own = lora.modules()[i];
    first_block_ = std::min(first_block_, own.block);
    modules_[static_cast<size_t>(own.block)][static_cast<size_t>(own.group)]
        .push_back({.parameter = &own,
                    .grad_a = lora.ViewA(grad_, i),
                    .grad_b = lora.ViewB(grad_, i)});
  }
}

TrainingNetwork::TrainingNetwork(const Model& model, const LoraAdapter* adapter)
    : model_(model),
      anchor_(at::zeros({1}, at::TensorOptions().device(model.device()))
                  .set_requires_grad(true)),
      rotary_(MakeTable(model.spec().rope, model.weights().embed.options())),
      window_rotary_(MakeTable(model.spec().window_rope.value_or(RopeSpec{}),
                               model.weights().embed.options())) {
  const int64_t count = model.spec().block_count();
  modules_.resize(static_cast<size_t>(count));
  for (int64_t slot = 0; adapter != nullptr && slot < count * kGroupCount;
       ++slot) {
    const int64_t block = slot / kGroupCount;
    const auto group = static_cast<ProjectionGroup>(slot % kGroupCount);
    const LoraGroup& own = adapter->group(block, group);
    for (const LoraModule& module : own.modules) {
      frozen_.push_back(
          {.name = "",
           .number = module.number,
           .block = block,
           .group = group,
           .out_begin = module.out_begin,
           .a = own.down.narrow(0, module.rank_begin, module.up.size(1)),
           .b = module.up});
    }
  }
  for (const LoraParameter& own : frozen_) {
    modules_[static_cast<size_t>(own.block)][static_cast<size_t>(own.group)]
        .push_back({.parameter = &own, .grad_a = {}, .grad_b = {}});
  }
}

TrainingNetwork::Pass TrainingNetwork::MakePass(const TrainingPack& pack,
                                                double dropout) const {
  const at::Device device = model_.device();
  std::vector<int64_t> tokens;
  std::vector<int64_t> positions;
  std::vector<int64_t> predicting;
  std::vector<int64_t> targets;
  Pass pass;
  pass.dropout.rate = dropout;
  pass.rows.begins.push_back(0);
  for (size_t d = 0; d < pack.documents.size(); ++d) {
    const TrainingDocument& document = *pack.documents[d];
    for (size_t i = 0; i < document.tokens.size(); ++i) {
      if (i > 0 && (document.is_target.empty() || document.is_target[i])) {
        predicting.push_back(static_cast<int64_t>(tokens.size()) - 1);
        targets.push_back(document.tokens[i]);
      }
      tokens.push_back(document.tokens[i]);
      positions.push_back(static_cast<int64_t>(i));
      if (dropout > 0) {
        pass.dropout.row_keys.push_back(Mix(pack.dropout_keys[d] + i));
      }
    }
    pass.rows.begins.push_back(static_cast<int64_t>(tokens.size()));
  }
  const int64_t filling = Missing(tokens.size());
  for (int64_t i = 0; i < filling; ++i) {
    tokens.push_back(0);
    positions.push_back(i);
    if (dropout > 0) pass.dropout.row_keys.push_back(0);
  }
  if (filling > 0) {
    pass.rows.begins.push_back(static_cast<int64_t>(tokens.size()));
  }
  const int64_t padding = Missing(targets.size());
  predicting.insert(predicting.end(), static_cast<size_t>(padding), 0);
  targets.insert(targets.end(), static_cast<size_t>(padding), kNoTarget);
  const int64_t limit = *std::max_element(positions.begin(), positions.end());
  pass.token_ids = IndexTensor(tokens, device);
  pass.positions = IndexTensor(positions, device);
  pass.predicting = IndexTensor(predicting, device);
  pass.targets = IndexTensor(targets, device);
  if (rotary_ != nullptr) pass.angles = rotary_->At(pass.positions, limit + 1);
  if (window_rotary_ != nullptr) {
    pass.window_angles = window_rotary_->At(pass.positions, limit + 1);
  }
  return pass;
}

at::Tensor TrainingNetwork::Linear(int64_t block, ProjectionGroup group,
                                   const LinearWeights& weights,
                                   const at::Tensor& x,
                                   const Pass& pass) const {
  return TrainLinear(
      weights, modules_[static_cast<size_t>(block)][static_cast<size_t>(group)],
      pass.dropout, x, anchor_);
}

at::Tensor TrainingNetwork::Attention(int64_t block, const at::Tensor& normed,
                                      const Pass& pass) const {
  const DecoderSpec& spec = model_.spec();
  const BlockWeights& weights =
      model_.weights().blocks[static_cast<size_t>(block)];
  const int64_t rows = normed.size(0);
  const std::vector<at::Tensor> parts =
      Linear(block, ProjectionGroup::kQkv, weights.qkv, normed, pass)
          .split_with_sizes({spec.q_width(), spec.kv_width(), spec.kv_width()},
                            1);
  at::Tensor q = parts[0];
  at::Tensor k = parts[1];
  if (spec.qk_norm == QkNorm::kWhole) {
    q = TrainNorm(spec, weights.q_norm, q);
    k = TrainNorm(spec, weights.k_norm, k);
  }
  const auto headed = [&](const at::Tensor& x) {
    return x.unflatten(1, {x.size(1) / spec.head_dim, spec.head_dim});
  };
  q = headed(q);
  k = headed(k);
  if (spec.qk_norm == QkNorm::kHead) {
    q = TrainNorm(spec, weights.q_norm, q);
    k = TrainNorm(spec, weights.k_norm, k);
  }
  const at::Tensor v = headed(parts[2]);
  Show(Site::kQ, block, q);
  Show(Site::kK, block, k);
  Show(Site::kV, block, v);
  const RotaryTable::Angles& angles =
      spec.uses_window_rope(block) ? pass.window_angles : pass.angles;
  const AttentionScores scores = {
      .scale = spec.attn_scale > 0
                   ? spec.attn_scale
                   : 1.0 / std::sqrt(static_cast<double>(spec.head_dim)),
      .softcap = spec.attn_softcap};
  const at::Tensor z = PackedAttention(
      pass.rows, scores, spec.blocks[static_cast<size_t>(block)].window,
      TrainRotary(q, angles), TrainRotary(k, angles), v);
  return Show(Site::kZ, block, z).reshape({rows, spec.q_width()});
}

at::Tensor TrainingNetwork::Mlp(int64_t block, const at::Tensor& normed,
                                const Pass& pass) const {
  const DecoderSpec& spec = model_.spec();
  const BlockWeights& weights =
      model_.weights().blocks[static_cast<size_t>(block)];
  if (spec.blocks[static_cast<size_t>(block)].has_experts) {
    return TrainExperts(spec, weights, normed);
  }
  const at::Tensor up =
      Linear(block, ProjectionGroup::kGateUp, weights.gate_up, normed, pass);
  const at::Tensor hidden = TrainActivation(spec, up);
  return Linear(block, ProjectionGroup::kDown, weights.down,
                Show(Site::kMlpHidden, block, hidden), pass);
}

at::Tensor TrainingNetwork::Block(int64_t block, const at::Tensor& residual,
                                  const Pass& pass) const {
  const DecoderSpec& spec = model_.spec();
  const BlockWeights& weights =
      model_.weights().blocks[static_cast<size_t>(block)];
  const at::Tensor z =
      Attention(block, TrainNorm(spec, weights.attn_norm, residual), pass);
  const at::Tensor attn_out =
      TrainNorm(spec, weights.attn_post_norm,
                Linear(block, ProjectionGroup::kO, weights.o, z, pass));
  Show(Site::kAttnOut, block, attn_out);
  const at::Tensor middle =
      spec.parallel_residual ? residual : residual + attn_out;
  if (!spec.parallel_residual) Show(Site::kResidMid, block, middle);
  const at::Tensor mlp_out =
      TrainNorm(spec, weights.mlp_post_norm,
                Mlp(block, TrainNorm(spec, weights.mlp_norm, middle), pass));
  Show(Site::kMlpOut, block, mlp_out);
  progress_();
  // transformers' order of the parallel sum.
  return middle + (spec.parallel_residual ? mlp_out + attn_out : mlp_out);
}

double TrainingNetwork::Head(const at::Tensor& residual, const Pass& pass,
                             double weight, at::Tensor* grad) const {
  const at::Tensor rows = residual.detach()
                              .index_select(0, pass.predicting)
                              .set_requires_grad(grad != nullptr);
  const at::Tensor normed =
      TrainNorm(model_.spec(), model_.weights().final_norm, rows);
  TokenLoss loss;
  {
    const at::NoGradGuard no_grad;
    loss = ComputeTokenLoss(model_, normed.detach(), pass.targets, weight);
  }
  if (grad != nullptr) {
    normed.backward(loss.grad);
    *grad = at::zeros_like(residual, at::MemoryFormat::Contiguous);
    grad->index_add_(0, pass.predicting, rows.grad());
  }
  return loss.sum;
}

double TrainingNetwork::Accumulate(const TrainingPack& pack, double weight) {
  const at::AutoGradMode with_grad(true);
  const int64_t count = model_.spec().block_count();
  const Pass pass = MakePass(pack, options_.dropout);
  // Of each block from the first adapted one on: what went in, and, unless it
  // is computed again, what came out.
  std::vector<at::Tensor> inputs;
  std::vector<at::Tensor> outputs;
  at::Tensor residual;
  {
    const at::NoGradGuard no_grad;
    residual = model_.decoder().Embed(pass.token_ids, pass.positions);
    for (int64_t b = 0; b < first_block_; ++b) {
      residual = Block(b, residual, pass);
    }
  }
  for (int64_t b = first_block_; b < count; ++b) {
    inputs.push_back(residual.detach());
    if (options_.activation_checkpointing) {
      const at::NoGradGuard no_grad;
      residual = Block(b, inputs.back(), pass);
    } else {
      inputs.back().set_requires_grad(b > first_block_);
      outputs.push_back(Block(b, inputs.back(), pass));
      residual = outputs.back();
    }
  }
  at::Tensor grad;
  const double loss = Head(residual, pass, weight, &grad);
  residual.reset();
  for (int64_t b = count - 1; b >= first_block_; --b) {
    at::Tensor input = std::move(inputs.back());
    inputs.pop_back();
    at::Tensor output;
    if (options_.activation_checkpointing) {
      input.set_requires_grad(b > first_block_);
      output = Block(b, input, pass);
    } else {
      output = std::move(outputs.back());
      outputs.pop_back();
    }
    output.backward(grad);
    progress_();
    if (b > first_block_) grad = input.grad();
  }
  return loss;
}

double TrainingNetwork::Loss(const TrainingPack& pack) {
  const at::NoGradGuard no_grad;
  const Pass pass = MakePass(pack, /*dropout=*/0.0);
  at::Tensor residual = model_.decoder().Embed(pass.token_ids, pass.positions);
  for (int64_t b = 0; b < model_.spec().block_count(); ++b) {
    residual = Block(b, residual, pass);
  }
  return Head(residual, pass, /*weight=*/0.0, nullptr);
}

int64_t TrainingNetwork::FirstNonFiniteBlock(const TrainingPack& pack) {
  const at::NoGradGuard no_grad;
  const Pass pass = MakePass(pack, options_.dropout);
  at::Tensor residual = model_.decoder().Embed(pass.token_ids, pass.positions);
  for (int64_t b = 0; b < model_.spec().block_count(); ++b) {
    residual = Block(b, residual, pass);
    if (!residual.isfinite().all().item<bool>()) return b;
  }
  return -1;
}

}  // namespace dissonance
