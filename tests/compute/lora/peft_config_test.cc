#include "src/compute/lora/peft_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "nlohmann/json.hpp"

namespace dissonance {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

json Plain() {
  return {{"peft_type", "LORA"},
          {"r", 8},
          {"lora_alpha", 16},
          {"target_modules", {"q_proj", "v_proj"}}};
}

PeftConfig Parsed(const std::string& text) {
  auto config = ParsePeftConfig(text, "adapter_config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : PeftConfig();
}

TEST(PeftConfigTest, ListEntriesMatchWholePartsOfTheName) {
  const PeftConfig config = Parsed(Plain().dump());
  EXPECT_TRUE(config.Targets("model.layers.0.self_attn.q_proj", 0));
  EXPECT_FALSE(config.Targets("model.layers.0.self_attn.k_proj", 0));
  EXPECT_FALSE(config.Targets("model.layers.0.self_attn.xq_proj", 0));
}

TEST(PeftConfigTest, AnExpressionMustMatchTheWholeName) {
  json json_config = Plain();
  json_config["target_modules"] = R"(.*layers\.(0|2)\.self_attn\.q_proj)";
  const PeftConfig config = Parsed(json_config.dump());
  EXPECT_TRUE(config.Targets("model.layers.2.self_attn.q_proj", 2));
  EXPECT_FALSE(config.Targets("model.layers.1.self_attn.q_proj", 1));
  EXPECT_FALSE(config.Targets("model.layers.2.self_attn.q_proj.more", 2));
}

TEST(PeftConfigTest, ExclusionsAndLayersNarrowTheTargets) {
  json json_config = Plain();
  json_config["exclude_modules"] = {"layers.1.self_attn.q_proj"};
  json_config["layers_to_transform"] = {1, 3};
  const PeftConfig config = Parsed(json_config.dump());
  EXPECT_FALSE(config.Targets("model.layers.1.self_attn.q_proj", 1));
  EXPECT_TRUE(config.Targets("model.layers.3.self_attn.q_proj", 3));
  EXPECT_FALSE(config.Targets("model.layers.2.self_attn.q_proj", 2));
}

TEST(PeftConfigTest, TheFirstPatternInFileOrderWins) {
  const PeftConfig config = Parsed(
      R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8,
          "target_modules": ["q_proj"],
          "rank_pattern": {"q_proj": 2, "layers.0.self_attn.q_proj": 16},
          "alpha_pattern": {"layers.0.*": 6, "q_proj": 1}})");
  EXPECT_EQ(config.RankOf("model.layers.0.self_attn.q_proj"), 2);
  EXPECT_DOUBLE_EQ(config.ScalingOf("model.layers.0.self_attn.q_proj"), 3.0);
  EXPECT_DOUBLE_EQ(config.ScalingOf("model.layers.1.self_attn.q_proj"), 0.5);
}

TEST(PeftConfigTest, RankStabilisedScalingDividesByTheRoot) {
  json json_config = Plain();
  json_config["use_rslora"] = true;
  EXPECT_DOUBLE_EQ(Parsed(json_config.dump()).ScalingOf("a.q_proj"),
                   16.0 / std::sqrt(8.0));
}

TEST(PeftConfigTest, RefusesWhatWouldChangeTheResult) {
  const json unsupported = {{"use_dora", true},
                            {"bias", "all"},
                            {"modules_to_save", {"lm_head"}},
                            {"layer_replication", {{0, 2}}},
                            {"trainable_token_indices", {1}},
                            {"lora_bias", true},
                            {"init_lora_weights", "pissa"},
                            {"some_future_switch", 3}};
  for (const auto& [key, value] : unsupported.items()) {
    json config = Plain();
    config[key] = value;
    const auto parsed = ParsePeftConfig(config.dump(), "adapter_config.json");
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kUnimplemented) << key;
    EXPECT_THAT(std::string(parsed.status().message()),
                AllOf(HasSubstr("adapter_config.json"), HasSubstr(key)));
  }
}

TEST(PeftConfigTest, NamesTheFieldOfMalformedConfigs) {
  const json malformed = {{"r", 0},
                          {"lora_alpha", "16"},
                          {"lora_dropout", 1.5},
                          {"target_modules", 3},
                          {"target_modules", "("},
                          {"rank_pattern", {{"q_proj", -1}}},
                          {"layers_to_transform", {"one"}},
                          {"use_rslora", 1}};
  for (const auto& [key, value] : malformed.items()) {
    json config = Plain();
    config[key] = value;
    const auto parsed = ParsePeftConfig(config.dump(), "adapter_config.json");
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument)
        << key;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(key));
  }
}

}  // namespace
}  // namespace dissonance
