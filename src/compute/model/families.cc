#include "src/compute/model/families.h"

#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

void ReadLlama(ConfigReader& read, DecoderSpec& spec) {
  spec.qkv_bias = read.BoolOr("attention_bias", false);
  spec.o_bias = spec.qkv_bias;
  spec.mlp_bias = read.BoolOr("mlp_bias", false);
}

void ReadMistral(ConfigReader&, DecoderSpec&) {}

bool AlwaysSlides(ConfigReader&, int64_t) { return true; }

void ReadQwen2(ConfigReader&, DecoderSpec& spec) { spec.qkv_bias = true; }

bool QwenSlides(ConfigReader& read, int64_t block) {
  return read.BoolOr("use_sliding_window", false) &&
         block >= read.PositiveOr("max_window_layers", 28);
}

void ReadQwen3(ConfigReader& read, DecoderSpec& spec) {
  spec.qkv_bias = read.BoolOr("attention_bias", false);
  spec.o_bias = spec.qkv_bias;
  spec.qk_norm = QkNorm::kHead;
}

bool SlidesIfAsked(ConfigReader& read, int64_t) {
  return read.BoolOr("use_sliding_window", false);
}

void ReadQwen3Moe(ConfigReader& read, DecoderSpec& spec) {
  ReadQwen3(read, spec);
  // transformers 5 writes Mixtral's name for it.
  spec.experts.count = read.PositiveOr(
      read.Has("num_local_experts") ? "num_local_experts" : "num_experts", 128);
  spec.experts.chosen = read.PositiveOr("num_experts_per_tok", 8);
  spec.experts.d_mlp = read.PositiveOr("moe_intermediate_size", 768);
  spec.experts.normalize = read.BoolOr("norm_topk_prob", false);
  spec.experts.round_weights = true;
  spec.names.router = "mlp.gate";
  spec.names.experts = "mlp.experts";
  spec.names.expert_modules = {"gate_proj", "up_proj", "down_proj"};
  const int64_t step = read.PositiveOr("decoder_sparse_step", 1);
  for (int64_t b = 0; b < spec.block_count(); ++b) {
    spec.blocks[static_cast<size_t>(b)].has_experts = (b + 1) % step == 0;
  }
  for (const int64_t b :
       read.IndicesOr("mlp_only_layers", spec.block_count())) {
    spec.blocks[static_cast<size_t>(b)].has_experts = false;
  }
}

void ReadMixtral(ConfigReader& read, DecoderSpec& spec) {
  spec.experts.count = read.PositiveOr("num_local_experts", 8);
  spec.experts.chosen = read.PositiveOr("num_experts_per_tok", 2);
  spec.experts.d_mlp = spec.d_mlp;
  spec.names.router = "block_sparse_moe.gate";
  spec.names.experts = "block_sparse_moe.experts";
  spec.names.expert_modules = {"w1", "w3", "w2"};
  for (BlockSpec& block : spec.blocks) block.has_experts = true;
}

void ReadGemma(ConfigReader& read, DecoderSpec& spec) {
  ReadLlama(read, spec);
  spec.embed_scale = std::sqrt(static_cast<double>(spec.d_model));
  spec.norm = NormKind::kRmsWide;
  spec.norm_offset = 1.0;
  spec.attn_scale =
      1.0 / std::sqrt(read.NumberOr("query_pre_attn_scalar", 256.0));
  spec.names.attn_post_norm = "post_attention_layernorm";
  spec.names.mlp_norm = "pre_feedforward_layernorm";
  spec.names.mlp_post_norm = "post_feedforward_layernorm";
  read.RefuseUnless("use_bidirectional_attention", false);
}

void ReadGemma2(ConfigReader& read, DecoderSpec& spec) {
  ReadGemma(read, spec);
  spec.attn_softcap = read.NumberOrNull("attn_logit_softcapping", 50.0);
  spec.final_softcap = read.NumberOrNull("final_logit_softcapping", 30.0);
}

bool EverySecondSlides(ConfigReader&, int64_t block) { return block % 2 == 0; }

void ReadGemma3(ConfigReader& read, DecoderSpec& spec) {
  ReadGemma(read, spec);
  spec.qk_norm = QkNorm::kHead;
  spec.attn_softcap = read.NumberOrNull("attn_logit_softcapping", 0.0);
  spec.final_softcap = read.NumberOrNull("final_logit_softcapping", 0.0);
  if (spec.window_rope.has_value()) return;
  spec.window_rope =
      RopeSpec{.width = spec.head_dim,
               .theta = read.NumberOr("rope_local_base_freq", 10000.0)};
}

bool AllButEveryNthSlide(ConfigReader& read, int64_t block) {
  return (block + 1) % read.PositiveOr("sliding_window_pattern", 6) != 0;
}

void ReadGpt2(ConfigReader& read, DecoderSpec& spec) {
  spec.norm = NormKind::kLayer;
  spec.gated = false;
  spec.qkv_bias = spec.o_bias = spec.mlp_bias = true;
  spec.transposed = true;
  TensorNames& names = spec.names;
  names.optional_prefix = "transformer.";
  names.embed = "transformer.wte";
  names.positions = "transformer.wpe";
  names.final_norm = "transformer.ln_f";
  names.blocks = "transformer.h";
  names.attn_norm = "ln_1";
  names.mlp_norm = "ln_2";
  names.modules = {
      {{"attn.c_attn"}, {"attn.c_proj"}, {"mlp.c_fc"}, {"mlp.c_proj"}}};
  read.RefuseUnless("scale_attn_weights", true);
  read.RefuseUnless("scale_attn_by_inverse_layer_idx", false);
  read.RefuseUnless("reorder_and_upcast_attn", false);
  read.RefuseUnless("add_cross_attention", false);
}

void ReadGptNeox(ConfigReader& read, DecoderSpec& spec) {
  spec.norm = NormKind::kLayer;
  spec.gated = false;
  spec.qkv_bias = spec.o_bias = read.BoolOr("attention_bias", true);
  spec.mlp_bias = true;
  spec.parallel_residual = read.BoolOr("use_parallel_residual", true);
  spec.qkv_by_head = true;
  TensorNames& names = spec.names;
  names.embed = "gpt_neox.embed_in";
  names.final_norm = "gpt_neox.final_layer_norm";
  names.unembed = "embed_out";
  names.blocks = "gpt_neox.layers";
  names.modules = {{{"attention.query_key_value"},
                    {"attention.dense"},
                    {"mlp.dense_h_to_4h"},
                    {"mlp.dense_4h_to_h"}}};
}

void ReadPhi3(ConfigReader& read, DecoderSpec& spec) {
  spec.names.modules[static_cast<int>(ProjectionGroup::kQkv)] = {
      "self_attn.qkv_proj"};
  spec.names.modules[static_cast<int>(ProjectionGroup::kGateUp)] = {
      "mlp.gate_up_proj"};
  read.RefuseUnless("attention_bias", false);
}

void ReadOlmo2(ConfigReader& read, DecoderSpec& spec) {
  spec.qkv_bias = read.BoolOr("attention_bias", false);
  spec.o_bias = spec.qkv_bias;
  spec.norm = NormKind::kRmsWide;
  spec.qk_norm = QkNorm::kWhole;
  spec.names.attn_norm = "";
  spec.names.attn_post_norm = "post_attention_layernorm";
  spec.names.mlp_norm = "";
  spec.names.mlp_post_norm = "post_feedforward_layernorm";
}

constexpr const char* kGemmaActivation = "gelu_pytorch_tanh";

std::map<std::string, Family> MakeFamilies() {
  const ConfigKeys gemma = {.activation = "hidden_activation"};
  const ConfigKeys gpt2 = {.d_model = "n_embd",
                           .d_mlp = "n_inner",
                           .head_count = "n_head",
                           .block_count = "n_layer",
                           .max_positions = "n_positions",
                           .norm_eps = "layer_norm_epsilon",
                           .activation = "activation_function"};
  const ConfigKeys neox = {.norm_eps = "layer_norm_eps",
                           .rope_theta = "rotary_emb_base",
                           .rope_part = "rotary_pct"};
  return {
      {"LlamaForCausalLM", {.read = ReadLlama}},
      {"MistralForCausalLM",
       {.window = 4096, .slides = AlwaysSlides, .read = ReadMistral}},
      {"Qwen2ForCausalLM", {.slides = QwenSlides, .read = ReadQwen2}},
      {"Qwen3ForCausalLM", {.slides = QwenSlides, .read = ReadQwen3}},
      {"Qwen3MoeForCausalLM",
       {.max_positions = 32768,
        .window = 4096,
        .slides = SlidesIfAsked,
        .read = ReadQwen3Moe}},
      {"MixtralForCausalLM",
       {.max_positions = 131072,
        .norm_eps = 1e-5,
        .rope_theta = 1e6,
        .slides = AlwaysSlides,
        .read = ReadMixtral}},
      {"Gemma2ForCausalLM",
       {.keys = gemma,
        .max_positions = 8192,
        .activation = kGemmaActivation,
        .head_dim = 256,
        .tied_unembed = true,
        .window = 4096,
        .slides = EverySecondSlides,
        .read = ReadGemma2}},
      {"Gemma3ForCausalLM",
       {.keys = gemma,
        .max_positions = 131072,
        .activation = kGemmaActivation,
        .head_dim = 256,
        .tied_unembed = true,
        .rope_theta = 1e6,
        .window = 4096,
        .slides = AllButEveryNthSlide,
        .read = ReadGemma3}},
      {"GPT2LMHeadModel",
       {.keys = gpt2,
        .max_positions = 1024,
        .norm_eps = 1e-5,
        .activation = "gelu_new",
        .mlp_factor = 4,
        .tied_unembed = true,
        .has_rope = false,
        .read = ReadGpt2}},
      {"GPTNeoXForCausalLM",
       {.keys = neox,
        .norm_eps = 1e-5,
        .activation = "gelu",
        .rope_part = 0.25,
        .reads_rope_part = true,
        .read = ReadGptNeox}},
      {"Phi3ForCausalLM",
       {.max_positions = 4096,
        .norm_eps = 1e-5,
        .reads_rope_part = true,
        .slides = AlwaysSlides,
        .read = ReadPhi3}},
      {"Olmo2ForCausalLM", {.norm_eps = 1e-5, .read = ReadOlmo2}},
  };
}

const std::map<std::string, Family>& Families() {
  static const auto* families =
      new std::map<std::string, Family>(MakeFamilies());
  return *families;
}

}  // namespace

const Family* FindFamily(const std::string& architecture) {
  const auto it = Families().find(architecture);
  return it == Families().end() ? nullptr : &it->second;
}

std::vector<std::string> SupportedArchitectures() {
  std::vector<std::string> names;
  for (const auto& [name, family] : Families()) names.push_back(name);
  return names;
}

}  // namespace dissonance
