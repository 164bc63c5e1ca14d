#include "src/compute/model/weights.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>

#include <initializer_list>
#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Shape = std::vector<int64_t>;

std::string ShapeText(at::IntArrayRef shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// Old checkpoints store the rotary table and causal masks, which follow from
// the config.
bool IsConstant(absl::string_view name) {
  return absl::c_any_of(
      std::initializer_list<absl::string_view>{
          ".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias",
          ".attention.bias", ".attention.masked_bias"},
      [name](absl::string_view end) { return absl::EndsWith(name, end); });
}

class Reader {
 public:
  Reader(const DecoderSpec& spec, const Checkpoint& checkpoint,
         const at::TensorOptions& options)
      : spec_(spec), checkpoint_(checkpoint), options_(options) {}

  absl::StatusOr<DecoderWeights> Read() {
    const TensorNames& names = spec_.names;
    DecoderWeights weights;
    ASSIGN_OR_RETURN(weights.embed, Tensor(names.embed + ".weight",
                                           {spec_.vocab_size, spec_.d_model}));
    if (!names.positions.empty()) {
      ASSIGN_OR_RETURN(weights.positions,
                       Tensor(names.positions + ".weight",
                              {spec_.max_positions, spec_.d_model}));
    }
    for (int64_t block = 0; block < spec_.block_count(); ++block) {
      ASSIGN_OR_RETURN(BlockWeights read, Block(block));
      weights.blocks.push_back(std::move(read));
    }
    ASSIGN_OR_RETURN(weights.final_norm, Norm(names.final_norm, spec_.d_model));
    if (spec_.tied_unembed) {
      weights.unembed = weights.embed;
      used_.insert(names.unembed + ".weight");
    } else {
      ASSIGN_OR_RETURN(
          weights.unembed,
          Tensor(names.unembed + ".weight", {spec_.vocab_size, spec_.d_model}));
    }
    RETURN_IF_ERROR(RefuseUnused());
    weights.parameter_count = parameter_count_;
    weights.bytes =
        parameter_count_ * static_cast<int64_t>(options_.dtype().itemsize());
    return weights;
  }

 private:
  absl::StatusOr<BlockWeights> Block(int64_t block) {
    using enum ProjectionGroup;
    const TensorNames& names = spec_.names;
    BlockWeights out;
    const auto norm = [&](const std::string& name, int64_t width) {
      return name.empty() ? NormWeights{}
                          : Norm(spec_.InBlock(block, name), width);
    };
    ASSIGN_OR_RETURN(out.attn_norm, norm(names.attn_norm, spec_.d_model));
    ASSIGN_OR_RETURN(out.attn_post_norm,
                     norm(names.attn_post_norm, spec_.d_model));
    ASSIGN_OR_RETURN(out.mlp_norm, norm(names.mlp_norm, spec_.d_model));
    ASSIGN_OR_RETURN(out.mlp_post_norm,
                     norm(names.mlp_post_norm, spec_.d_model));
    if (spec_.qk_norm != QkNorm::kNone) {
      const bool whole = spec_.qk_norm == QkNorm::kWhole;
      ASSIGN_OR_RETURN(out.q_norm, norm(names.q_norm, whole ? spec_.q_width()
                                                            : spec_.head_dim));
      ASSIGN_OR_RETURN(out.k_norm, norm(names.k_norm, whole ? spec_.kv_width()
                                                            : spec_.head_dim));
    }
    ASSIGN_OR_RETURN(out.qkv, Group(block, kQkv));
    ASSIGN_OR_RETURN(out.o, Group(block, kO));
    if (spec_.blocks[static_cast<size_t>(block)].has_experts) {
      RETURN_IF_ERROR(Experts(block, out));
    } else {
      ASSIGN_OR_RETURN(out.gate_up, Group(block, kGateUp));
      ASSIGN_OR_RETURN(out.down, Group(block, kDown));
    }
    return out;
  }

  absl::Status Experts(int64_t block, BlockWeights& out) {
    const TensorNames& names = spec_.names;
    const int64_t d_mlp = spec_.experts.d_mlp;
    ASSIGN_OR_RETURN(out.router.weight,
                     Tensor(spec_.InBlock(block, names.router) + ".weight",
                            {spec_.experts.count, spec_.d_model}));
    for (int64_t expert = 0; expert < spec_.experts.count; ++expert) {
      const std::string prefix =
          absl::StrCat(spec_.InBlock(block, names.experts), ".", expert, ".");
      ExpertWeights& read = out.experts.emplace_back();
      read.gate_up.weight = at::empty({2 * d_mlp, spec_.d_model}, options_);
      RETURN_IF_ERROR(
          ReadInto(read.gate_up.weight.narrow(0, 0, d_mlp),
                   absl::StrCat(prefix, names.expert_modules[0], ".weight")));
      RETURN_IF_ERROR(
          ReadInto(read.gate_up.weight.narrow(0, d_mlp, d_mlp),
                   absl::StrCat(prefix, names.expert_modules[1], ".weight")));
      ASSIGN_OR_RETURN(
          read.down.weight,
          Tensor(absl::StrCat(prefix, names.expert_modules[2], ".weight"),
                 {spec_.d_model, d_mlp}));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<NormWeights> Norm(const std::string& name, int64_t width) {
    // kRmsWide multiplies before it rounds.
    const bool is_wide = spec_.norm == NormKind::kRmsWide &&
                         options_.dtype().toScalarType() == at::kBFloat16;
    NormWeights norm;
    norm.weight =
        at::empty({width}, is_wide ? options_.dtype(at::kFloat) : options_);
    RETURN_IF_ERROR(ReadInto(norm.weight, name + ".weight"));
    if (spec_.norm_offset != 0.0) norm.weight.add_(spec_.norm_offset);
    if (spec_.norm == NormKind::kLayer) {
      ASSIGN_OR_RETURN(norm.bias, Tensor(name + ".bias", {width}));
    }
    return norm;
  }

  // A group's matrices one below the other.
  absl::StatusOr<LinearWeights> Group(int64_t block, ProjectionGroup group) {
    const int64_t out_width = spec_.OutWidth(group);
    LinearWeights linear;
    linear.weight = at::empty({out_width, spec_.InWidth(group)}, options_);
    if (spec_.HasBias(group)) linear.bias = at::empty({out_width}, options_);
    int64_t row = 0;
    for (const ModuleSpec& module : spec_.Modules(block, group)) {
      at::Tensor place = linear.weight.narrow(0, row, module.out_width);
      if (spec_.transposed) place = place.t();
      RETURN_IF_ERROR(ReadInto(place, module.name + ".weight"));
      if (linear.bias.has_value()) {
        RETURN_IF_ERROR(ReadInto(linear.bias->narrow(0, row, module.out_width),
                                 module.name + ".bias"));
      }
      row += module.out_width;
    }
    linear.weight = InGroupOrder(spec_, group, linear.weight);
    if (linear.bias.has_value()) {
      linear.bias = InGroupOrder(spec_, group, *linear.bias);
    }
    return linear;
  }

  absl::StatusOr<at::Tensor> Tensor(const std::string& name,
                                    const Shape& shape) {
    at::Tensor out = at::empty(shape, options_);
    RETURN_IF_ERROR(ReadInto(out, name));
    return out;
  }

  // The name under which the checkpoint has it.
  std::string Stored(const std::string& name) const {
    const std::string& prefix = spec_.names.optional_prefix;
    if (prefix.empty() || !absl::StartsWith(name, prefix)) return name;
    const std::string without = name.substr(prefix.size());
    return checkpoint_.Contains(without) ? without : name;
  }

  absl::Status ReadInto(const at::Tensor& out, const std::string& full_name) {
    const std::string name = Stored(full_name);
    if (!checkpoint_.Contains(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", name,
                       "\" is missing; config.json asks for it with "
                       "shape ",
                       ShapeText(out.sizes())));
    }
    ASSIGN_OR_RETURN(const at::Tensor stored, checkpoint_.Load(name));
    if (stored.sizes() != out.sizes()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor \"", name, "\" has shape ", ShapeText(stored.sizes()),
          ", config.json asks for ", ShapeText(out.sizes())));
    }
    if (!stored.is_floating_point()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", name, "\" is not floating point"));
    }
    out.copy_(stored);
    // A sum is not finite if any element is not; the slow look is only for
    // the message's sake and for sums that overflow.
    if (!out.sum().isfinite().item<bool>() &&
        !out.isfinite().all().item<bool>()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", name, "\" holds NaN or Inf"));
    }
    used_.insert(name);
    parameter_count_ += out.numel();
    return absl::OkStatus();
  }

  absl::Status RefuseUnused() const {
    for (const std::string& name : checkpoint_.names()) {
      if (used_.contains(name) || IsConstant(name)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", name, "\" has no place in ",
                       spec_.architecture, " as config.json describes it"));
    }
    return absl::OkStatus();
  }

  const DecoderSpec& spec_;
  const Checkpoint& checkpoint_;
  const at::TensorOptions options_;
  std::set<std::string> used_;
  int64_t parameter_count_ = 0;
};

}  // namespace

at::Tensor InGroupOrder(const DecoderSpec& spec, ProjectionGroup group,
                        const at::Tensor& stored) {
  if (group != ProjectionGroup::kQkv || !spec.qkv_by_head) return stored;
  // [heads, 3, head_dim, ...] as [3, heads, head_dim, ...].
  std::vector<int64_t> shape = {spec.head_count, 3, spec.head_dim};
  shape.insert(shape.end(), stored.sizes().begin() + 1, stored.sizes().end());
  return stored.reshape(shape).transpose(0, 1).reshape(stored.sizes());
}

at::Tensor InStoredOrder(const DecoderSpec& spec, ProjectionGroup group,
                         const at::Tensor& grouped) {
  if (group != ProjectionGroup::kQkv || !spec.qkv_by_head) return grouped;
  std::vector<int64_t> shape = {3, spec.head_count, spec.head_dim};
  shape.insert(shape.end(), grouped.sizes().begin() + 1, grouped.sizes().end());
  return grouped.reshape(shape).transpose(0, 1).reshape(grouped.sizes());
}

absl::StatusOr<DecoderWeights> ReadWeights(const DecoderSpec& spec,
                                           const Checkpoint& checkpoint,
                                           const at::TensorOptions& options) {
  return Reader(spec, checkpoint, options).Read();
}

}  // namespace dissonance
