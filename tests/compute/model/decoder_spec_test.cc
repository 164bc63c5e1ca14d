#include "src/compute/model/decoder_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace dissonance {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

json Llama() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"vocab_size", 100},
          {"hidden_size", 64},
          {"intermediate_size", 128},
          {"num_hidden_layers", 4},
          {"num_attention_heads", 4}};
}

std::string ErrorOf(const json& config) {
  const auto spec = ParseDecoderSpec(config, "config.json");
  return spec.ok() ? "no error" : std::string(spec.status().message());
}

TEST(DecoderSpecTest, FillsInTransformersDefaults) {
  const auto spec = ParseDecoderSpec(Llama(), "config.json");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->kv_head_count, 4);
  EXPECT_EQ(spec->head_dim, 16);
  EXPECT_EQ(spec->norm_eps, 1e-6);
  EXPECT_EQ(spec->rope.theta, 10000.0);
  EXPECT_EQ(spec->max_positions, 2048);
  EXPECT_FALSE(spec->tied_unembed);
  EXPECT_FALSE(spec->qkv_bias);
}

TEST(DecoderSpecTest, MistralWindowFollowsTheKey) {
  json config = Llama();
  config["architectures"] = {"MistralForCausalLM"};
  EXPECT_EQ(ParseDecoderSpec(config, "c")->blocks[3].window, 4096);
  config["sliding_window"] = nullptr;
  EXPECT_EQ(ParseDecoderSpec(config, "c")->blocks[3].window, 0);
  config["sliding_window"] = 20;
  EXPECT_EQ(ParseDecoderSpec(config, "c")->blocks[3].window, 20);
}

TEST(DecoderSpecTest, QwenWindowBeginsAtMaxWindowLayers) {
  json config = Llama();
  config["architectures"] = {"Qwen2ForCausalLM"};
  config["sliding_window"] = 32;
  config["max_window_layers"] = 2;
  EXPECT_EQ(ParseDecoderSpec(config, "c")->blocks[3].window, 0);
  config["use_sliding_window"] = true;
  EXPECT_EQ(ParseDecoderSpec(config, "c")->blocks[1].window, 0);
  EXPECT_EQ(ParseDecoderSpec(config, "c")->blocks[2].window, 32);
  config["layer_types"] = {"sliding_attention", "full_attention",
                           "full_attention", "full_attention"};
  EXPECT_EQ(ParseDecoderSpec(config, "c")->blocks[0].window, 32);
  EXPECT_EQ(ParseDecoderSpec(config, "c")->blocks[2].window, 0);
}

TEST(DecoderSpecTest, GemmaDefaultsAreItsOwn) {
  json config = Llama();
  config["architectures"] = {"Gemma2ForCausalLM"};
  const auto gemma2 = ParseDecoderSpec(config, "c");
  ASSERT_TRUE(gemma2.ok()) << gemma2.status();
  EXPECT_EQ(gemma2->head_dim, 256);
  EXPECT_EQ(gemma2->attn_scale, 1.0 / 16);
  EXPECT_EQ(gemma2->attn_softcap, 50.0);
  EXPECT_EQ(gemma2->final_softcap, 30.0);
  EXPECT_EQ(gemma2->activation, Activation::kGeluTanh);
  EXPECT_TRUE(gemma2->tied_unembed);
  EXPECT_EQ(gemma2->blocks[0].window, 4096);
  EXPECT_EQ(gemma2->blocks[1].window, 0);
  config["attn_logit_softcapping"] = nullptr;
  EXPECT_EQ(ParseDecoderSpec(config, "c")->attn_softcap, 0.0);

  config["architectures"] = {"Gemma3ForCausalLM"};
  config["num_hidden_layers"] = 6;
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  const auto gemma3 = ParseDecoderSpec(config, "c");
  ASSERT_TRUE(gemma3.ok()) << gemma3.status();
  EXPECT_EQ(gemma3->blocks[4].window, 4096);
  EXPECT_EQ(gemma3->blocks[5].window, 0);
  // The scaling is of the blocks that see everything.
  EXPECT_FALSE(gemma3->uses_window_rope(5));
  EXPECT_EQ(gemma3->rope.theta, 1e6);
  EXPECT_EQ(gemma3->rope.factor, 8.0);
  ASSERT_TRUE(gemma3->uses_window_rope(4));
  EXPECT_EQ(gemma3->window_rope->theta, 1e4);
  EXPECT_EQ(gemma3->window_rope->factor, 1.0);
}

TEST(DecoderSpecTest, ExpertsTakeTheMlpsPlaceWhereTheConfigSays) {
  json config = Llama();
  config["architectures"] = {"Qwen3MoeForCausalLM"};
  config["decoder_sparse_step"] = 2;
  config["mlp_only_layers"] = {3};
  const auto spec = ParseDecoderSpec(config, "c");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->experts.chosen, 8);
  EXPECT_FALSE(spec->experts.normalize);
  EXPECT_TRUE(spec->blocks[1].has_experts);
  EXPECT_FALSE(spec->blocks[2].has_experts);
  EXPECT_FALSE(spec->blocks[3].has_experts);
  EXPECT_TRUE(spec->Modules(1, ProjectionGroup::kDown).empty());
  EXPECT_EQ(spec->Modules(2, ProjectionGroup::kDown).front().name,
            "model.layers.2.mlp.down_proj");
  config["num_experts_per_tok"] = 129;
  EXPECT_THAT(ErrorOf(config),
              AllOf(HasSubstr("num_experts_per_tok 129"), HasSubstr("128")));
  config["mlp_only_layers"] = {4};
  EXPECT_THAT(ErrorOf(config), HasSubstr("mlp_only_layers"));
}

TEST(DecoderSpecTest, RefusesSwitchesThatWouldChangeTheNumbers) {
  json config = {{"architectures", {"GPT2LMHeadModel"}},
                 {"vocab_size", 100},
                 {"n_embd", 64},
                 {"n_layer", 2},
                 {"n_head", 4}};
  const auto gpt2 = ParseDecoderSpec(config, "c");
  ASSERT_TRUE(gpt2.ok()) << gpt2.status();
  EXPECT_EQ(gpt2->d_mlp, 256);
  EXPECT_EQ(gpt2->rope.width, 0);
  config["scale_attn_by_inverse_layer_idx"] = true;
  const auto refused = ParseDecoderSpec(config, "c");
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("\"scale_attn_by_inverse_layer_idx\" = true"));
  config = Llama();
  config["architectures"] = {"GPTNeoXForCausalLM"};
  EXPECT_EQ(ParseDecoderSpec(config, "c")->rope.width, 4);
  config["rotary_pct"] = 0.05;
  EXPECT_THAT(ErrorOf(config), HasSubstr("rotated part"));
}

TEST(DecoderSpecTest, NamesWhatItDoesNotSupport) {
  json config = Llama();
  config["architectures"] = {"FalconForCausalLM"};
  EXPECT_THAT(
      ErrorOf(config),
      AllOf(HasSubstr("FalconForCausalLM"),
            HasSubstr(
                "LlamaForCausalLM, MistralForCausalLM, MixtralForCausalLM")));
  config = Llama();
  config["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
  EXPECT_THAT(ErrorOf(config), HasSubstr("\"yarn\""));
  config = Llama();
  config["rope_parameters"] = {{"rope_type", "longrope"}};
  EXPECT_THAT(ErrorOf(config), HasSubstr("\"longrope\""));
  config = Llama();
  config["quantization_config"] = {{"quant_method", "gptq"}};
  EXPECT_THAT(ErrorOf(config), HasSubstr("\"gptq\""));
  config = Llama();
  config["hidden_act"] = "relu";
  EXPECT_THAT(ErrorOf(config), HasSubstr("\"relu\""));
}

TEST(DecoderSpecTest, NamesTheFieldOfMalformedConfigs) {
  const json bad = {{"vocab_size", 0},         {"hidden_size", "64"},
                    {"num_hidden_layers", -1}, {"num_attention_heads", 1.5},
                    {"rms_norm_eps", 0},       {"tie_word_embeddings", "yes"},
                    {"rope_theta", -2.0},      {"num_key_value_heads", 3},
                    {"head_dim", 15},          {"sliding_window", "all"},
                    {"hidden_act", 7},         {"eos_token_id", "two"},
                    {"torch_dtype", 16}};
  for (const auto& [key, value] : bad.items()) {
    json config = Llama();
    config["architectures"] = {"MistralForCausalLM"};
    config[key] = value;
    EXPECT_THAT(ErrorOf(config),
                AllOf(HasSubstr("config.json"), HasSubstr(key)))
        << key;
  }
  EXPECT_THAT(ErrorOf(json::object()), HasSubstr("architectures"));
  EXPECT_THAT(ErrorOf(json::array()), HasSubstr("not an object"));
}

}  // namespace
}  // namespace dissonance
