// Weights come and go by need: what is pinned or in use stays, what left is
// read again, and a request keeps what it started with.
#include "server/worker/model_registry.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/testing/compute_goldens.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

std::string Directory(const std::string& family) {
  return ReadGolden("models/" + family).directory + "/model";
}

std::vector<std::string> Resident(const ModelRegistry& registry) {
  std::vector<std::string> names;
  for (const ResidentModel& model : registry.ListModels()) {
    names.push_back(model.name.substr(model.name.find('/') + 1));
  }
  return names;
}

using Names = std::vector<std::string>;

class ModelRegistryTest : public testing::Test {
 protected:
  static int64_t Bytes(const std::string& family) {
    const auto bytes = Model::WeightBytes(Directory(family), ModelOptions());
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    return bytes.value_or(0);
  }
  static void Load(ModelRegistry& registry, const std::string& family,
                   bool pinned = false) {
    const auto loaded = registry.LoadModel(
        "models/" + family, Directory(family), std::nullopt, pinned);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
  }
};

TEST_F(ModelRegistryTest, TheLeastRecentlyUsedLeavesAndIsReadAgain) {
  ModelRegistry registry(at::kCPU, nullptr,
                         Bytes("llama") + Bytes("qwen2") + Bytes("gpt2") / 2);
  Load(registry, "llama");
  Load(registry, "qwen2");
  const std::string digest = registry.GetModel("models/llama")->model->digest();
  EXPECT_EQ(Resident(registry), (Names{"llama", "qwen2"}));
  Load(registry, "gpt2");
  EXPECT_EQ(Resident(registry), (Names{"gpt2", "llama"}));
  EXPECT_EQ(registry.stats().eviction_count, 1);
  const auto again = registry.GetModel("models/qwen2");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Resident(registry), (Names{"gpt2", "qwen2"}));
  EXPECT_EQ(registry.GetModel("models/llama")->model->digest(), digest);
  EXPECT_EQ(registry.stats().model_load_count, 5);
}

TEST_F(ModelRegistryTest, WhatIsPinnedOrInUseStays) {
  ModelRegistry registry(at::kCPU, nullptr,
                         Bytes("llama") + Bytes("gpt2") + 1000);
  Load(registry, "llama", /*pinned=*/true);
  Load(registry, "qwen2");
  {
    const auto in_use = registry.GetModel("models/qwen2");
    const auto refused =
        registry.LoadModel("models/gpt2", Directory("gpt2"), std::nullopt);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_NE(refused.status().message().find("pinned or in use"),
              std::string::npos);
  }
  EXPECT_EQ(Resident(registry), (Names{"llama", "qwen2"}));
  Load(registry, "gpt2");
  EXPECT_EQ(Resident(registry), (Names{"gpt2", "llama"}));
  // Loaded again, it is no longer pinned.
  Load(registry, "llama");
  ASSERT_TRUE(registry.GetModel("models/gpt2").ok());
  Load(registry, "mistral");
  EXPECT_EQ(Resident(registry), (Names{"gpt2", "mistral"}));
}

TEST_F(ModelRegistryTest, FilesThatChangedWhileTheWeightsWereAwayAreRefused) {
  const TempFolder folder;
  const std::string own = folder.File("model");
  std::filesystem::copy(Directory("llama"), own);
  ModelRegistry registry(at::kCPU, nullptr, Bytes("llama"));
  ASSERT_TRUE(registry.LoadModel("models/own", own, std::nullopt).ok());
  Load(registry, "llama");
  EXPECT_EQ(Resident(registry), (Names{"llama"}));
  {
    std::fstream file(own + "/model.safetensors",
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-5, std::ios::end);
    file.put('\x11');
  }
  const auto changed = registry.GetModel("models/own");
  EXPECT_EQ(changed.status().code(), absl::StatusCode::kFailedPrecondition)
      << changed.status();
}

TEST_F(ModelRegistryTest, AdaptersLeaveAndComeBackWithTheirModel) {
  const std::string adapter_path =
      ReadGolden("lora/llama_qkvo_r8").directory + "/adapter";
  ModelRegistry registry(at::kCPU, nullptr, Bytes("gpt2") + Bytes("llama") / 2);
  Load(registry, "llama");
  const auto registered =
      registry.RegisterAdapter("models/llama/adapters/a", adapter_path);
  ASSERT_TRUE(registered.ok()) << registered.status();
  const std::string digest = registered->adapter->digest();
  // A request that runs on.
  const auto held = registered->adapter;
  Load(registry, "gpt2");
  EXPECT_EQ(Resident(registry), (Names{"gpt2"}));
  EXPECT_EQ(registry.ListAdapters("models/llama").size(), 1U);
  const auto again = registry.GetAdapter("models/llama/adapters/a");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->adapter, held);
  // Replaced, the request's own stays what it was.
  ASSERT_TRUE(
      registry.RegisterAdapter("models/llama/adapters/a", adapter_path).ok());
  EXPECT_NE(registry.GetAdapter("models/llama/adapters/a")->adapter, held);
  EXPECT_EQ(held->digest(), digest);
  ASSERT_TRUE(registry.UnloadAdapter("models/llama/adapters/a").ok());
  EXPECT_TRUE(absl::IsNotFound(
      registry.GetAdapter("models/llama/adapters/a").status()));
}

TEST_F(ModelRegistryTest, WeightsWithoutFilesStayAndAreNotListed) {
  ModelRegistry registry(at::kCPU, nullptr, Bytes("llama") + Bytes("gpt2"));
  Load(registry, "llama");
  const auto model = registry.GetModel("models/llama")->model;
  const auto made = LoraAdapter::Untrained(*model, 4, 1);
  ASSERT_TRUE(made.ok()) << made.status();
  constexpr char kName[] = "models/llama/adapters/~01JOB";
  ASSERT_TRUE(registry.KeepAdapter(kName, *made, *model).ok());
  EXPECT_EQ(registry.GetAdapter(kName)->adapter, *made);
  EXPECT_TRUE(registry.ListAdapters("models/llama").empty());
  // Users can't have such names, nor a training others.
  EXPECT_EQ(registry.RegisterAdapter(kName, "/a").status().code(),
            absl::StatusCode::kInvalidArgument);
  for (const char* name : {"models/llama/adapters/a", "models/llama/adapters/~",
                           "models/llama/~a", "~a"}) {
    EXPECT_EQ(registry.KeepAdapter(name, *made, *model).code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
  ASSERT_TRUE(registry.UnloadAdapter(kName).ok());
  EXPECT_TRUE(absl::IsNotFound(registry.GetAdapter(kName).status()));
  ASSERT_TRUE(registry.UnloadModel("models/llama").ok());
  EXPECT_EQ(registry.KeepAdapter(kName, *made, *model).code(),
            absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace dissonance
