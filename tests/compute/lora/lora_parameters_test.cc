// Adapters as trainable numbers: what PEFT wrote comes back as it was, and a
// new one begins as PEFT's does.
#include "src/compute/lora/lora_parameters.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "src/base/file.h"
#include "src/compute/lora/adapter_reader.h"
#include "src/compute/lora/batch_delta.h"
#include "tests/testing/compute_goldens.h"
#include "tests/testing/random_tensor.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t kReadLimit = 64 << 20;

std::shared_ptr<const Model> Base(const std::string& name,
                                  at::ScalarType dtype = at::kFloat) {
  return LoadGoldenModel(ReadGolden("models/" + name).directory + "/model",
                         dtype);
}

LoraParameters Initial(const PeftConfig& config, const Model& model,
                       uint64_t seed = 7) {
  auto lora = LoraParameters::Init(config, model, seed);
  EXPECT_TRUE(lora.ok()) << lora.status();
  return lora.ok() ? *std::move(lora) : LoraParameters();
}

PeftConfig Targeting(const std::vector<std::string>& names) {
  PeftConfig config;
  config.target_modules = names;
  config.rank = 4;
  return config;
}

// Writes an adapter as PEFT would.
void WriteAdapter(const LoraParameters& lora, const Model& model,
                  const std::string& directory, const std::string& base_model) {
  ASSERT_TRUE(WriteSafetensors(directory + "/adapter_model.safetensors",
                               lora.PeftTensors(model.spec()), PeftMetadata())
                  .ok());
  ASSERT_TRUE(WriteFileAtomically(
                  directory + "/adapter_config.json",
                  PeftConfigJson(lora.config(), model.spec(), base_model))
                  .ok());
}

at::Tensor LogitsWith(const Model& model,
                      std::shared_ptr<const LoraAdapter> adapter) {
  const std::vector<int32_t> tokens = {5, 17, 80, 3, 41, 9, 12, 66};
  AdapterRun run;
  run.row_count = static_cast<int64_t>(tokens.size());
  run.adapter = std::move(adapter);
  const BatchDelta delta({run}, /*reproducible=*/true);
  return LogitsOf(model, tokens, {.delta = &delta});
}

std::vector<std::string> Accepted() {
  std::vector<std::string> names;
  for (const std::string& name : GoldenNames("lora")) {
    if (ReadGolden("lora/" + name).config["verdict"] == "accept") {
      names.push_back(name);
    }
  }
  return names;
}

class StoredAdapterTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = ReadGolden("lora/" + GetParam());
    directory_ = golden_.directory + "/adapter";
    model_ = Base(golden_.config["base_model"]);
    auto lora = LoraParameters::Read(directory_, *model_);
    ASSERT_TRUE(lora.ok()) << lora.status();
    lora_ = *std::move(lora);
  }

  GoldenCase golden_;
  std::string directory_;
  std::shared_ptr<const Model> model_;
  LoraParameters lora_;
};

TEST_P(StoredAdapterTest, ComesBackAsTheTensorsOfTheFile) {
  const auto file =
      SafetensorsFile::Open(directory_ + "/adapter_model.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const std::vector<NamedTensor> tensors = lora_.PeftTensors(model_->spec());
  EXPECT_EQ(tensors.size(), (*file)->tensors().size());
  for (const auto& [name, tensor] : tensors) {
    const auto stored = (*file)->Load(name);
    ASSERT_TRUE(stored.ok()) << stored.status();
    EXPECT_TRUE(at::equal(tensor, stored->to(at::kFloat))) << name;
  }
}

TEST_P(StoredAdapterTest, ComputesTheSameMadeAndLoaded) {
  const auto made = LoraAdapter::Make(lora_, *model_, "some/base");
  ASSERT_TRUE(made.ok()) << made.status();
  const auto loaded = LoraAdapter::Load(directory_, *model_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(
      at::equal(LogitsWith(*model_, *made), LogitsWith(*model_, *loaded)));
  EXPECT_EQ((*made)->rank(), (*loaded)->rank());
  EXPECT_EQ((*made)->dropout(), (*loaded)->dropout());
  EXPECT_EQ((*made)->bytes(), (*loaded)->bytes());
  EXPECT_EQ((*made)->module_count(), (*loaded)->module_count());
  EXPECT_EQ((*made)->target_names(), (*loaded)->target_names());
}

TEST_P(StoredAdapterTest, WrittenAndLoadedHasTheDigestOfTheOneMade) {
  const TempFolder folder;
  WriteAdapter(lora_, *model_, folder.path(), "some/base");
  const auto made = LoraAdapter::Make(lora_, *model_, "some/base");
  ASSERT_TRUE(made.ok()) << made.status();
  const auto loaded = LoraAdapter::Load(folder.path(), *model_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*made)->digest(), (*loaded)->digest());
  EXPECT_TRUE(
      at::equal(LogitsWith(*model_, *made), LogitsWith(*model_, *loaded)));
}

TEST_P(StoredAdapterTest, ConfigurationComesBackAsItWas) {
  const std::string text =
      PeftConfigJson(lora_.config(), model_->spec(), "some/base");
  const auto parsed = ParsePeftConfig(text, "adapter_config.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, lora_.config());
  const json stored = json::parse(
      ReadFile(directory_ + "/adapter_config.json", kReadLimit).value());
  const json written = json::parse(text);
  for (const auto& [key, value] : stored.items()) {
    if (key == "base_model_name_or_path") continue;
    EXPECT_EQ(written.value(key, json("absent")), value) << key;
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, StoredAdapterTest,
                         testing::ValuesIn(Accepted()),
                         [](const auto& info) { return info.param; });

class TrainedAdapterTest : public testing::TestWithParam<std::string> {};

TEST_P(TrainedAdapterTest, IsWrittenBackByteForByte) {
  const std::string directory =
      ReadGolden("models/llama").directory + "/../../train_lora/" + GetParam();
  const auto model = Base("llama");
  const auto lora = LoraParameters::Read(directory, *model);
  ASSERT_TRUE(lora.ok()) << lora.status();
  EXPECT_EQ(lora->modules().size(), 4U * model->spec().block_count());
  const TempFolder folder;
  WriteAdapter(*lora, *model, folder.path(), "models/llama/model");
  const std::string weights = "/adapter_model.safetensors";
  EXPECT_TRUE(ReadFile(folder.path() + weights, kReadLimit).value() ==
              ReadFile(directory + weights, kReadLimit).value());
  const std::string config = "/adapter_config.json";
  EXPECT_EQ(json::parse(ReadFile(folder.path() + config, kReadLimit).value()),
            json::parse(ReadFile(directory + config, kReadLimit).value()));
}

INSTANTIATE_TEST_SUITE_P(Goldens, TrainedAdapterTest,
                         testing::Values("init_adapter", "final_wd0",
                                         "final_wd01", "final_wd30"),
                         [](const auto& info) { return info.param; });

TEST(LoraParametersTest, RowsOfAFusedProjectionByHeadAreStoredAsTheyWere) {
  const auto model = Base("gpt_neox");
  const LoraParameters lora = Initial(Targeting({"query_key_value"}), *model);
  lora.flat().copy_(RandomTensor({lora.flat().numel()}, at::kFloat, 3));
  const TempFolder folder;
  WriteAdapter(lora, *model, folder.path(), "");
  const auto read = LoraParameters::Read(folder.path(), *model);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(at::equal(read->flat(), lora.flat()));
  const at::Tensor stored = lora.PeftTensors(model->spec())[1].second;
  EXPECT_FALSE(at::equal(stored, lora.modules()[0].b));
  const DecoderSpec& spec = model->spec();
  // Row 0 of head 1's q follows on head 0's v.
  EXPECT_TRUE(at::equal(stored.select(0, 3 * spec.head_dim),
                        lora.modules()[0].b.select(0, spec.head_dim)));
}

TEST(LoraParametersTest, MatricesAreViewsOfOneBufferWithoutGaps) {
  const auto model = Base("llama");
  PeftConfig config = Targeting({"q_proj", "down_proj"});
  config.rank_pattern = {{"down_proj", 2}};
  const LoraParameters lora = Initial(config, *model);
  const at::Tensor other = at::zeros_like(lora.flat());
  int64_t begin = 0;
  for (size_t i = 0; i < lora.modules().size(); ++i) {
    for (const bool first : {true, false}) {
      const LoraParameter& module = lora.modules()[i];
      const at::Tensor& own = first ? module.a : module.b;
      EXPECT_EQ(own.storage_offset(), begin);
      EXPECT_TRUE(own.is_alias_of(lora.flat()));
      EXPECT_TRUE(own.is_contiguous());
      const at::Tensor view =
          first ? lora.ViewA(other, i) : lora.ViewB(other, i);
      EXPECT_EQ(view.sizes(), own.sizes());
      EXPECT_EQ(view.storage_offset(), begin);
      EXPECT_TRUE(view.is_alias_of(other));
      begin += own.numel();
    }
  }
  EXPECT_EQ(begin, lora.flat().numel());
}

TEST(LoraParametersTest, BeginsAsPeftDoes) {
  const auto model = Base("llama");
  PeftConfig config = Targeting({"q_proj", "down_proj"});
  config.rank = 32;
  const LoraParameters lora = Initial(config, *model);
  for (const LoraParameter& module : lora.modules()) {
    EXPECT_EQ(module.b.abs().max().item<double>(), 0.0);
    const double bound = 1.0 / std::sqrt(static_cast<double>(module.a.size(1)));
    const double largest = module.a.abs().max().item<double>();
    EXPECT_LE(largest, bound);
    EXPECT_GT(largest, 0.98 * bound);
    EXPECT_NEAR(module.a.mean().item<double>(), 0.0, 0.1 * bound);
    // A uniform distribution's.
    EXPECT_NEAR(module.a.std().item<double>(), bound / std::sqrt(3.0),
                0.05 * bound);
  }
}

TEST(LoraParametersTest, AModuleBeginsTheSameWhateverElseIsAdapted) {
  const auto model = Base("llama");
  const auto wide = Base("llama", at::kDouble);
  const LoraParameters few = Initial(Targeting({"v_proj"}), *model);
  const LoraParameters many =
      Initial(Targeting({"v_proj", "q_proj", "up_proj"}), *wide);
  const LoraParameters other = Initial(Targeting({"v_proj"}), *model, 8);
  std::map<std::string, at::Tensor> by_name;
  for (const LoraParameter& module : many.modules()) {
    EXPECT_EQ(module.a.scalar_type(), at::kDouble);
    by_name[module.name] = module.a;
  }
  for (size_t i = 0; i < few.modules().size(); ++i) {
    const LoraParameter& module = few.modules()[i];
    EXPECT_TRUE(at::equal(module.a.to(at::kDouble), by_name[module.name]));
    EXPECT_FALSE(at::equal(module.a, other.modules()[i].a));
  }
  EXPECT_FALSE(at::equal(few.modules()[0].a, few.modules()[1].a));
}

TEST(LoraParametersTest, ListsWhatAllLinearStandsFor) {
  PeftConfig all;
  all.all_linear = true;
  const auto llama = Base("llama");
  EXPECT_THAT(Initial(all, *llama).config().target_modules,
              ElementsAre("down_proj", "gate_proj", "k_proj", "o_proj",
                          "q_proj", "up_proj", "v_proj"));
  EXPECT_EQ(Initial(all, *llama).modules().size(),
            7U * llama->spec().block_count());
  EXPECT_THAT(Initial(all, *Base("phi3")).config().target_modules,
              ElementsAre("down_proj", "gate_up_proj", "o_proj", "qkv_proj"));
}

TEST(LoraParametersTest, WithoutTargetsAdaptsTheAttentionAlone) {
  const auto names = [](const std::string& base) {
    return Initial(PeftConfig(), *Base(base)).config().target_modules;
  };
  EXPECT_THAT(names("llama"),
              ElementsAre("k_proj", "o_proj", "q_proj", "v_proj"));
  EXPECT_THAT(names("gpt2"), ElementsAre("attn.c_proj", "c_attn"));
  const auto gpt2 = Base("gpt2");
  EXPECT_EQ(Initial(PeftConfig(), *gpt2).modules().size(),
            2U * gpt2->spec().block_count());
}

TEST(LoraParametersTest, SaysThatConv1dStoresWeightsTransposed) {
  const auto config = [](const std::string& base) {
    const auto model = Base(base);
    return json::parse(PeftConfigJson(Initial(PeftConfig(), *model).config(),
                                      model->spec(), "models/x"));
  };
  EXPECT_EQ(config("gpt2")["fan_in_fan_out"], true);
  EXPECT_EQ(config("llama")["fan_in_fan_out"], false);
  EXPECT_EQ(config("llama")["base_model_name_or_path"], "models/x");
}

TEST(LoraParametersTest, ConfigurationKeepsWhatIsRare) {
  const auto model = Base("llama");
  PeftConfig config = Targeting({"q_proj", "v_proj"});
  config.excluded_modules = {"layers.0.self_attn.v_proj"};
  config.layers = {1, 0};
  config.alpha = 3.7;
  config.dropout = 0.1;
  config.rank_stabilized = true;
  config.rank_pattern = {{"v_proj", 2}, {"layers.0.self_attn.q_proj", 16}};
  config.alpha_pattern = {{"v_proj", 0.5}, {"q_.*", 3}};
  const LoraParameters lora = Initial(config, *model);
  EXPECT_EQ(lora.config(), config);
  EXPECT_EQ(lora.modules().size(), 3U);
  PeftConfig expression;
  expression.target_expression = R"(.*\.1\.self_attn\.[qk]_proj)";
  expression.excluded_expression = ".*k_proj";
  EXPECT_EQ(Initial(expression, *model).config(), expression);
  EXPECT_EQ(Initial(expression, *model).modules().size(), 1U);
}

struct Refused {
  std::string what;  // in the message
  PeftConfig config;
};

std::vector<Refused> RefusedConfigs() {
  const PeftConfig plain = Targeting({"q_proj"});
  std::vector<Refused> refused;
  const auto add = [&](const std::string& what) -> PeftConfig& {
    return refused.emplace_back(what, plain).config;
  };
  add("\"c_attn\"").target_modules = {"q_proj", "c_attn"};
  add("\".*nothing\"").target_expression = ".*nothing";
  add("\"lm_head\"").excluded_modules = {"lm_head"};
  add("\"x.*\"").excluded_expression = "x.*";
  add("rank_pattern \"w_proj\"").rank_pattern = {{"w_proj", 3}};
  add("alpha_pattern \"w_proj\"").alpha_pattern = {{"w_proj", 3}};
  add("match no module").excluded_modules = {"q_proj"};
  add("block 99").layers = {0, 99};
  add("block -1").layers = {-1};
  add("\"r\"").rank = 0;
  add("\"lora_alpha\"").alpha = std::nan("");
  add("\"lora_dropout\"").dropout = 1.0;
  add("rank_pattern").rank_pattern = {{"(", 3}};
  return refused;
}

TEST(LoraParametersTest, NamesWhatAConfigurationHasWrong) {
  const auto model = Base("llama");
  for (const Refused& refused : RefusedConfigs()) {
    const auto lora = LoraParameters::Init(refused.config, *model, 1);
    EXPECT_EQ(lora.status().code(), absl::StatusCode::kInvalidArgument)
        << refused.what;
    EXPECT_THAT(std::string(lora.status().message()), HasSubstr(refused.what));
  }
  const auto lora = LoraParameters::Init(Targeting({"c_attn"}), *model, 1);
  EXPECT_THAT(std::string(lora.status().message()),
              HasSubstr("down_proj, gate_proj, k_proj, o_proj, q_proj, "
                        "up_proj, v_proj"));
}

TEST(LoraParametersTest, RefusesMatricesThatDoNotFitIntoMemory) {
  const TempFolder root;
  ASSERT_TRUE(MakeDirectories(root.File("proc")).ok());
  ASSERT_TRUE(
      WriteFileAtomically(root.File("proc/meminfo"), "MemAvailable: 2 kB\n")
          .ok());
  PeftConfig config = Targeting({"q_proj"});
  config.layers = {0};
  const DecoderSpec spec = Base("llama")->spec();
  const auto check = [&](int64_t rank) {
    config.rank = rank;
    return CheckMatricesFit(TargetedModules(config, spec), at::kFloat,
                            root.path());
  };
  EXPECT_TRUE(check(4).ok());
  const absl::Status status = check(5);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("2560 bytes"), HasSubstr("2048")));
}

}  // namespace
}  // namespace dissonance
