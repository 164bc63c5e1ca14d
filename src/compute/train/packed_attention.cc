#include "src/compute/train/packed_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>
#include <optional>
#include <utility>

namespace dissonance {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Neighbours of one length.
struct Group {
  int64_t row_begin = 0;
  int64_t count = 0;
  int64_t length = 0;
};

std::vector<Group> GroupsOf(const PackedRows& rows) {
  std::vector<Group> groups;
  for (size_t i = 0; i + 1 < rows.begins.size(); ++i) {
    const int64_t length = rows.begins[i + 1] - rows.begins[i];
    if (groups.empty() || groups.back().length != length) {
      groups.push_back({rows.begins[i], 0, length});
    }
    ++groups.back().count;
  }
  return groups;
}

// A group's rows of x [rows, heads, head_dim] as [count, heads, length,
// head_dim]; a view.
at::Tensor Headed(const at::Tensor& x, const Group& group) {
  return x.narrow(0, group.row_begin, group.count * group.length)
      .unflatten(0, {group.count, group.length})
      .transpose(1, 2);
}

// What a row may not see, [length, length], where the window is shorter.
at::Tensor Forbidden(int64_t length, int64_t window, const at::Device& device) {
  const auto options = at::TensorOptions().dtype(at::kBool).device(device);
  const at::Tensor all = at::ones({length, length}, options);
  at::Tensor forbidden = all.triu(1);
  if (window > 0) forbidden.logical_or_(all.tril(-window));
  return forbidden;
}

// The mask that is added to a group's scores; none where causal is enough.
std::optional<at::Tensor> MaskOf(const Group& group, int64_t window,
                                 const at::Tensor& q) {
  if (window <= 0 || group.length <= window) return std::nullopt;
  return at::zeros({group.length, group.length}, q.options())
      .masked_fill_(Forbidden(group.length, window, q.device()),
                    -std::numeric_limits<double>::infinity());
}

// torch's flash attention on the CPU (Dao 2023), group by group.
struct FlashFunction : Function<FlashFunction> {
  struct State {
    std::vector<Group> groups;
    double scale;
    int64_t window;
    at::Tensor q, k, v, z;
    std::vector<at::Tensor> log_sums;  // of each group
  };

  static at::Tensor forward(AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v,
                            const PackedRows& rows, double scale,
                            int64_t window) {
    auto state = c10::make_intrusive<Holder>();
    State& own = state->state;
    own = {.groups = GroupsOf(rows),
           .scale = scale,
           .window = window,
           .q = q,
           .k = k,
           .v = v,
           .z = at::empty(q.sizes(), q.options()),
           .log_sums = {}};
    for (const Group& group : own.groups) {
      const std::optional<at::Tensor> mask = MaskOf(group, window, q);
      auto [z, log_sum] = at::_scaled_dot_product_flash_attention_for_cpu(
          Headed(q, group), Headed(k, group), Headed(v, group), 0.0,
          !mask.has_value(), mask, scale);
      Headed(own.z, group).copy_(z);
      own.log_sums.push_back(std::move(log_sum));
    }
    // A graph may keep its own result only without the graph.
    const at::Tensor z = own.z;
    own.z = z.detach();
    context->saved_data["state"] = c10::IValue::make_capsule(state);
    return z;
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const auto holder = c10::static_intrusive_pointer_cast<Holder>(
        context->saved_data["state"].toCapsule());
    context->saved_data.clear();
    const State& own = holder->state;
    const at::Tensor grad = grads[0].contiguous();
    at::Tensor grad_q = at::empty(own.q.sizes(), own.q.options());
    at::Tensor grad_k = at::empty(own.k.sizes(), own.k.options());
    at::Tensor grad_v = at::empty(own.v.sizes(), own.v.options());
    for (size_t i = 0; i < own.groups.size(); ++i) {
      const Group& group = own.groups[i];
      const std::optional<at::Tensor> mask = MaskOf(group, own.window, own.q);
      auto [q, k, v] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          Headed(grad, group), Headed(own.q, group), Headed(own.k, group),
          Headed(own.v, group), Headed(own.z, group), own.log_sums[i], 0.0,
          !mask.has_value(), mask, own.scale);
      Headed(grad_q, group).copy_(q);
      Headed(grad_k, group).copy_(k);
      Headed(grad_v, group).copy_(v);
    }
    return {grad_q, grad_k, grad_v, at::Tensor(), at::Tensor(), at::Tensor()};
  }

 private:
  struct Holder : torch::CustomClassHolder {
    State state;
  };
};

// With capped scores, by torch's operators.
at::Tensor CappedAttention(AttentionScores scores, const Group& group,
                           int64_t window, const at::Tensor& q,
                           const at::Tensor& k, const at::Tensor& v) {
  const int64_t repeats = q.size(1) / k.size(1);
  const at::Tensor keys = Headed(k, group).repeat_interleave(repeats, 1);
  const at::Tensor values = Headed(v, group).repeat_interleave(repeats, 1);
  at::Tensor logits =
      at::matmul(Headed(q, group), keys.transpose(2, 3)) * scores.scale;
  logits = at::tanh(logits / scores.softcap) * scores.softcap;
  logits = logits.masked_fill(Forbidden(group.length, window, q.device()),
                              -std::numeric_limits<double>::infinity());
  const at::ScalarType dtype = q.scalar_type();
  const at::Tensor pattern =
      at::softmax(logits, -1, dtype == at::kDouble ? at::kDouble : at::kFloat)
          .to(dtype);
  return at::matmul(pattern, values);
}

at::Tensor TorchAttention(AttentionScores scores, const Group& group,
                          int64_t window, const at::Tensor& q,
                          const at::Tensor& k, const at::Tensor& v) {
  const std::optional<at::Tensor> mask = MaskOf(group, window, q);
  return at::scaled_dot_product_attention(
      Headed(q, group), Headed(k, group), Headed(v, group), mask, 0.0,
      !mask.has_value(), scores.scale, q.size(1) != k.size(1));
}

}  // namespace

at::Tensor PackedAttention(const PackedRows& rows, AttentionScores scores,
                           int64_t window, const at::Tensor& q,
                           const at::Tensor& k, const at::Tensor& v) {
  if (q.is_cpu() && scores.softcap == 0) {
    return FlashFunction::apply(q, k, v, rows, scores.scale, window);
  }
  std::vector<at::Tensor> parts;
  for (const Group& group : GroupsOf(rows)) {
    const at::Tensor z = scores.softcap > 0
                             ? CappedAttention(scores, group, window, q, k, v)
                             : TorchAttention(scores, group, window, q, k, v);
    parts.push_back(z.transpose(1, 2).flatten(0, 1));
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts);
}

}  // namespace dissonance
