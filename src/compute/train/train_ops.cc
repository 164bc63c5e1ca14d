#include "src/compute/train/train_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/silu.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <utility>

#include "src/compute/model/row_ops.h"
#include "src/compute/train/dropout_mask.h"
#include "src/compute/train/train_kernels.h"
#include "src/compute/train/train_product.h"

namespace dissonance {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// What a function keeps for its backward pass, apart from torch's own list,
// which would copy nothing but check much.
template <typename T>
struct Kept : torch::CustomClassHolder {
  explicit Kept(T kept) : value(std::move(kept)) {}
  T value;
};

template <typename T>
void Keep(AutogradContext* context, T value) {
  context->saved_data["kept"] =
      c10::IValue::make_capsule(c10::make_intrusive<Kept<T>>(std::move(value)));
}

// Gives it up: a graph runs backward once.
template <typename T>
T TakeKept(AutogradContext* context) {
  auto holder = c10::static_intrusive_pointer_cast<Kept<T>>(
      context->saved_data["kept"].toCapsule());
  context->saved_data.clear();
  return std::move(holder->value);
}

struct RmsNormFunction : Function<RmsNormFunction> {
  struct State {
    at::Tensor x;
    at::Tensor weight;
    double eps;
  };
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, double eps) {
    Keep(context, State{x, weight, eps});
    return RmsNorm(x, weight, eps);
  }
  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const auto state = TakeKept<State>(context);
    return {RmsNormBackward(grads[0], state.x, state.weight, state.eps),
            at::Tensor(), at::Tensor()};
  }
};

struct SwiGluFunction : Function<SwiGluFunction> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& gate_up) {
    Keep(context, gate_up);
    return GatedActivation(gate_up, Activation::kSilu);
  }
  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const auto gate_up = TakeKept<at::Tensor>(context);
    return {SwiGluBackward(grads[0], gate_up)};
  }
};

struct RotaryFunction : Function<RotaryFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const RotaryTable::Angles& angles) {
    Keep(context, angles);
    at::Tensor out = x.clone(at::MemoryFormat::Contiguous);
    ApplyRotary(out, angles.cos, angles.sin);
    return out;
  }
  // A rotation's transpose turns the other way.
  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const auto angles = TakeKept<RotaryTable::Angles>(context);
    at::Tensor out = grads[0].clone(at::MemoryFormat::Contiguous);
    ApplyRotary(out, angles.cos, -angles.sin);
    return {out, at::Tensor()};
  }
};

// A projection that is not adapted: torch's own keeps nothing more, but has
// slower products here.
struct FrozenFunction : Function<FrozenFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const LinearWeights& weights) {
    Keep(context, weights.weight);
    return LinearProduct(weights, x);
  }
  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const auto weight = TakeKept<at::Tensor>(context);
    return {Product(grads[0], weight), at::Tensor()};
  }
};

struct LinearFunction : Function<LinearFunction> {
  struct State {
    at::Tensor weight;  // [out, in]
    const std::vector<TrainModule>* modules;
    const TrainDropout* dropout;
    at::Tensor x;                    // [rows, in] in the adapters' type
    at::Tensor downs;                // [sum of ranks, in]
    std::vector<at::Tensor> shrunk;  // [rows, rank] of each module
    at::ScalarType type;             // of x as it came
  };

  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& /*anchor*/,
                            const LinearWeights& weights,
                            const std::vector<TrainModule>& modules,
                            const TrainDropout& dropout) {
    at::Tensor y = LinearProduct(weights, x);
    State state{.weight = weights.weight,
                .modules = &modules,
                .dropout = &dropout,
                .x = x.to(modules.front().parameter->a.scalar_type()),
                .downs = {},
                .shrunk = {},
                .type = x.scalar_type()};
    std::vector<at::Tensor> downs;
    for (const TrainModule& module : modules) {
      downs.push_back(module.parameter->a);
    }
    state.downs = downs.size() == 1 ? downs.front() : at::cat(downs);
    state.shrunk = Shrink(state);
    for (size_t i = 0; i < modules.size(); ++i) {
      const LoraParameter& own = *modules[i].parameter;
      at::Tensor part = y.narrow(1, own.out_begin, own.b.size(0));
      if (part.scalar_type() == own.b.scalar_type()) {
        AddProduct(part, state.shrunk[i], own.b.t(), own.scaling);
      } else {
        part.add_(Product(state.shrunk[i], own.b.t()).mul_(own.scaling));
      }
    }
    Keep(context, std::move(state));
    return y;
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const bool wants_x = context->needs_input_grad(0);
    const auto state = TakeKept<State>(context);
    const at::Tensor& grad = grads[0];
    at::Tensor grad_x;
    if (wants_x) grad_x = Product(grad, state.weight);
    const at::Tensor wide = grad.to(state.x.scalar_type());
    if (state.dropout->rate > 0) {
      BackwardDropped(state, wide, grad_x);
    } else {
      BackwardPlain(state, wide, grad_x);
    }
    return {grad_x, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }

 private:
  static at::Tensor Dropped(const State& state, const at::Tensor& x,
                            const LoraParameter& parameter) {
    return DropoutRows(x, state.dropout->row_keys,
                       static_cast<uint64_t>(parameter.number),
                       state.dropout->rate);
  }

  static std::vector<at::Tensor> Shrink(const State& state) {
    std::vector<at::Tensor> shrunk;
    if (state.dropout->rate > 0) {
      for (const TrainModule& module : *state.modules) {
        shrunk.push_back(Product(Dropped(state, state.x, *module.parameter),
                                 module.parameter->a.t()));
      }
      return shrunk;
    }
    const at::Tensor all = Product(state.x, state.downs.t());
    int64_t begin = 0;
    for (const TrainModule& module : *state.modules) {
      const int64_t rank = module.parameter->a.size(0);
      shrunk.push_back(all.narrow(1, begin, rank));
      begin += rank;
    }
    return shrunk;
  }

  static at::Tensor OwnGrad(const at::Tensor& grad,
                            const LoraParameter& parameter) {
    return grad.narrow(1, parameter.out_begin, parameter.b.size(0));
  }

  // Adds to grad_b; `into` [rows, rank] gets the gradient of the shrunk rows.
  static void BackwardUp(const TrainModule& module, const at::Tensor& shrunk,
                         const at::Tensor& grad, const at::Tensor& into) {
    const LoraParameter& own = *module.parameter;
    if (module.grad_b.defined()) {
      AddProduct(module.grad_b, OwnGrad(grad, own).t(), shrunk, own.scaling);
    }
    into.copy_(Product(OwnGrad(grad, own), own.b).mul_(own.scaling));
  }

  // Adds to each grad_a.
  static void AddDowns(const State& state, const at::Tensor& grad_shrunk) {
    const at::Tensor grad_downs = Product(grad_shrunk.t(), state.x);
    int64_t begin = 0;
    for (const TrainModule& module : *state.modules) {
      at::Tensor grad_a = module.grad_a;
      grad_a.add_(grad_downs.narrow(0, begin, grad_a.size(0)));
      begin += grad_a.size(0);
    }
  }

  static void BackwardPlain(const State& state, const at::Tensor& grad,
                            at::Tensor& grad_x) {
    at::Tensor grad_shrunk =
        at::empty({grad.size(0), state.downs.size(0)}, grad.options());
    int64_t begin = 0;
    for (size_t i = 0; i < state.modules->size(); ++i) {
      const TrainModule& module = (*state.modules)[i];
      const int64_t rank = module.parameter->a.size(0);
      BackwardUp(module, state.shrunk[i], grad,
                 grad_shrunk.narrow(1, begin, rank));
      begin += rank;
    }
    if (state.modules->front().grad_a.defined()) {
      AddDowns(state, grad_shrunk);
    }
    if (!grad_x.defined()) return;
    if (grad_x.scalar_type() == state.downs.scalar_type()) {
      AddProduct(grad_x, grad_shrunk, state.downs);
    } else {
      grad_x.add_(Product(grad_shrunk, state.downs));
    }
  }

  static void BackwardDropped(const State& state, const at::Tensor& grad,
                              at::Tensor& grad_x) {
    for (size_t i = 0; i < state.modules->size(); ++i) {
      const TrainModule& module = (*state.modules)[i];
      const LoraParameter& own = *module.parameter;
      const at::Tensor grad_shrunk =
          at::empty({grad.size(0), own.a.size(0)}, grad.options());
      BackwardUp(module, state.shrunk[i], grad, grad_shrunk);
      AddProduct(module.grad_a, grad_shrunk.t(), Dropped(state, state.x, own));
      if (!grad_x.defined()) continue;
      grad_x.add_(Dropped(state, Product(grad_shrunk, own.a), own));
    }
  }
};

at::Tensor Act(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kGelu:
      return at::gelu(x, "none");
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
  }
  return x;
}

}  // namespace

at::Tensor TrainNorm(const DecoderSpec& spec, const NormWeights& weights,
                     const at::Tensor& x) {
  if (!weights.weight.defined()) return x;
  if (spec.norm != NormKind::kLayer) {
    return RmsNormFunction::apply(x, weights.weight, spec.norm_eps);
  }
  return at::layer_norm(x, {x.size(-1)}, weights.weight, weights.bias,
                        spec.norm_eps);
}

at::Tensor TrainActivation(const DecoderSpec& spec, const at::Tensor& up) {
  if (!spec.gated) return Act(spec.activation, up);
  if (spec.activation == Activation::kSilu) return SwiGluFunction::apply(up);
  const int64_t width = up.size(1) / 2;
  const std::vector<at::Tensor> halves = up.split(width, 1);
  return Act(spec.activation, halves[0]) * halves[1];
}

at::Tensor TrainRotary(const at::Tensor& x, const RotaryTable::Angles& angles) {
  return angles.cos.defined() ? RotaryFunction::apply(x, angles) : x;
}

at::Tensor TrainLinear(const LinearWeights& weights,
                       const std::vector<TrainModule>& modules,
                       const TrainDropout& dropout, const at::Tensor& x,
                       const at::Tensor& anchor) {
  if (modules.empty()) return FrozenFunction::apply(x, weights);
  return LinearFunction::apply(x, anchor, weights, modules, dropout);
}

}  // namespace dissonance
