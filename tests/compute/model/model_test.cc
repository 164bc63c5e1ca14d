#include "src/compute/model/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A copy of a golden model whose tensors a test can change.
class ModelTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string source = ReadGolden("models/llama").directory + "/model";
    directory_ = testing::TempDir() + "/model_test_" +
                 testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    std::filesystem::copy(source + "/config.json", directory_);
    auto checkpoint = Checkpoint::Open(source);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    for (const std::string& name : (*checkpoint)->names()) {
      tensors_[name] = *(*checkpoint)->Load(name);
    }
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  absl::StatusOr<std::shared_ptr<const Model>> WriteAndLoad() {
    const std::vector<NamedTensor> list(tensors_.begin(), tensors_.end());
    const absl::Status written =
        WriteSafetensors(directory_ + "/model.safetensors", list);
    if (!written.ok()) return written;
    return Model::Load(directory_, {});
  }

  std::string directory_;
  std::map<std::string, at::Tensor> tensors_;
};

TEST_F(ModelTest, DigestFollowsContentsNotPlace) {
  const auto copy = WriteAndLoad();
  ASSERT_TRUE(copy.ok()) << copy.status();
  const auto again = Model::Load(directory_, {});
  EXPECT_EQ((*again)->digest(), (*copy)->digest());
  tensors_["model.norm.weight"] = tensors_["model.norm.weight"] * 2;
  const auto changed = WriteAndLoad();
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_NE((*changed)->digest(), (*copy)->digest());
}

TEST_F(ModelTest, ReportsWhatItHolds) {
  const auto model = WriteAndLoad();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->dtype(), at::kFloat);
  EXPECT_EQ((*model)->spec().block_count(), 4);
  EXPECT_EQ((*model)->weights().bytes, (*model)->weights().parameter_count * 4);
}

TEST_F(ModelTest, NamesAMissingTensor) {
  tensors_.erase("model.layers.2.mlp.up_proj.weight");
  EXPECT_THAT(WriteAndLoad().status().message(),
              AllOf(HasSubstr(directory_),
                    HasSubstr("model.layers.2.mlp.up_proj.weight"),
                    HasSubstr("missing")));
}

TEST_F(ModelTest, NamesATensorOfTheWrongShape) {
  tensors_["model.layers.1.self_attn.k_proj.weight"] = at::zeros({3, 64});
  EXPECT_THAT(WriteAndLoad().status().message(),
              AllOf(HasSubstr("model.layers.1.self_attn.k_proj.weight"),
                    HasSubstr("[3, 64]"), HasSubstr("[32, 64]")));
}

TEST_F(ModelTest, NamesATensorThatHasNoPlace) {
  tensors_["model.layers.4.input_layernorm.weight"] = at::zeros({64});
  EXPECT_THAT(WriteAndLoad().status().message(),
              HasSubstr("model.layers.4.input_layernorm.weight"));
}

TEST_F(ModelTest, RefusesWeightsThatAreNotFinite) {
  at::Tensor norm = tensors_["model.layers.3.input_layernorm.weight"].clone();
  norm[5] = std::numeric_limits<float>::quiet_NaN();
  tensors_["model.layers.3.input_layernorm.weight"] = norm;
  EXPECT_THAT(WriteAndLoad().status().message(),
              AllOf(HasSubstr("model.layers.3.input_layernorm.weight"),
                    HasSubstr("NaN")));
}

// As the first GPT-2 checkpoints are: names without "transformer.", and the
// causal mask stored beside the weights.
TEST(ModelLoadTest, Gpt2LoadsWithoutItsPrefix) {
  const std::string source = ReadGolden("models/gpt2").directory + "/model";
  const std::string directory = testing::TempDir() + "/gpt2_without_prefix";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  std::filesystem::copy(source + "/config.json", directory);
  auto checkpoint = Checkpoint::Open(source);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  std::vector<NamedTensor> list = {{"h.0.attn.bias", at::ones({1, 1, 8, 8})}};
  for (const std::string& name : (*checkpoint)->names()) {
    ASSERT_TRUE(name.starts_with("transformer.")) << name;
    list.emplace_back(name.substr(12), *(*checkpoint)->Load(name));
  }
  ASSERT_TRUE(WriteSafetensors(directory + "/model.safetensors", list).ok());
  const auto model = Model::Load(directory, {});
  const auto original = Model::Load(source, {});
  std::filesystem::remove_all(directory);
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_TRUE(original.ok()) << original.status();
  EXPECT_TRUE(
      LogitsOf(**model, {1, 2, 3}).equal(LogitsOf(**original, {1, 2, 3})));
}

TEST(ModelLoadTest, AFolderWithoutConfigIsNotFound) {
  const auto model = Model::Load("/nonexistent/model", {});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(model.status().message(),
              HasSubstr("there is no folder /nonexistent/model"));
}

}  // namespace
}  // namespace dissonance
