#include "src/compute/model/weights.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>

#include <initializer_list>
#include <set>
#include <utility>

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

class Reader {
 public:
  Reader(const DecoderSpec& spec, const Checkpoint& checkpoint,
         at::TensorOptions options)
      : spec_(spec), checkpoint_(checkpoint), options_(std::move(options)) {}

  absl::StatusOr<DecoderWeights> Read() {
    DecoderWeights weights;
    ASSIGN_OR_RETURN(weights.embed, Tensor("model.embed_tokens.weight",
                                           {spec_.vocab_size, spec_.d_model}));
    for (int64_t block = 0; block < spec_.block_count(); ++block) {
      ASSIGN_OR_RETURN(BlockWeights read, Block(block));
      weights.blocks.push_back(std::move(read));
    }
    ASSIGN_OR_RETURN(weights.final_norm,
                     Tensor("model.norm.weight", {spec_.d_model}));
    if (spec_.tied_unembed) {
      weights.unembed = weights.embed;
      used_.insert("lm_head.weight");
    } else {
      ASSIGN_OR_RETURN(
          weights.unembed,
          Tensor("lm_head.weight", {spec_.vocab_size, spec_.d_model}));
    }
    RETURN_IF_ERROR(RefuseUnused());
    weights.parameter_count = parameter_count_;
    weights.bytes =
        parameter_count_ * static_cast<int64_t>(options_.dtype().itemsize());
    return weights;
  }

 private:
  absl::StatusOr<BlockWeights> Block(int64_t block) {
    using enum Projection;
    const std::string prefix = absl::StrCat("model.layers.", block, ".");
    BlockWeights out;
    ASSIGN_OR_RETURN(out.attn_norm, Tensor(prefix + "input_layernorm.weight",
                                           {spec_.d_model}));
    ASSIGN_OR_RETURN(
        out.mlp_norm,
        Tensor(prefix + "post_attention_layernorm.weight", {spec_.d_model}));
    if (spec_.qk_norm) {
      ASSIGN_OR_RETURN(out.q_norm, Tensor(prefix + "self_attn.q_norm.weight",
                                          {spec_.head_dim}));
      ASSIGN_OR_RETURN(out.k_norm, Tensor(prefix + "self_attn.k_norm.weight",
                                          {spec_.head_dim}));
    }
    ASSIGN_OR_RETURN(out.qkv, Linear(block, {kQ, kK, kV}));
    ASSIGN_OR_RETURN(out.o, Linear(block, {kO}));
    ASSIGN_OR_RETURN(out.gate_up, Linear(block, {kGate, kUp}));
    ASSIGN_OR_RETURN(out.down, Linear(block, {kDown}));
    return out;
  }

  // The projections' weights one below the other.
  absl::StatusOr<LinearWeights> Linear(
      int64_t block, std::initializer_list<Projection> projections) {
    int64_t out_width = 0;
    for (const Projection p : projections) out_width += spec_.OutWidth(p);
    const Projection first = *projections.begin();
    LinearWeights linear;
    linear.weight = at::empty({out_width, spec_.InWidth(first)}, options_);
    if (spec_.HasBias(first)) linear.bias = at::empty({out_width}, options_);
    int64_t row = 0;
    for (const Projection p : projections) {
      const std::string name = ModuleName(block, p);
      const int64_t width = spec_.OutWidth(p);
      RETURN_IF_ERROR(
          ReadInto(linear.weight.narrow(0, row, width), name + ".weight"));
      if (linear.bias.has_value()) {
        RETURN_IF_ERROR(
            ReadInto(linear.bias->narrow(0, row, width), name + ".bias"));
      }
      row += width;
    }
    return linear;
  }

  absl::StatusOr<at::Tensor> Tensor(const std::string& name,
                                    const Shape& shape) {
    at::Tensor out = at::empty(shape, options_);
    RETURN_IF_ERROR(ReadInto(out, name));
    return out;
  }

  absl::Status ReadInto(at::Tensor out, const std::string& name) {
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
      // Old checkpoints store the rotary table, which follows from the config.
      if (used_.contains(name) ||
          absl::EndsWith(name, ".rotary_emb.inv_freq")) {
        continue;
      }
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

std::string ModuleName(int64_t block, Projection projection) {
  const char* parent = projection <= Projection::kO ? "self_attn" : "mlp";
  return absl::StrCat("model.layers.", block, ".", parent, ".",
                      ProjectionName(projection));
}

absl::StatusOr<DecoderWeights> ReadWeights(const DecoderSpec& spec,
                                           const Checkpoint& checkpoint,
                                           const at::TensorOptions& options) {
  return Reader(spec, checkpoint, options).Read();
}

}  // namespace dissonance
