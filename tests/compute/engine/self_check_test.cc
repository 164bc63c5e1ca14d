// The check passes for every family and type, and fails for what it is there
// to find.
#include "src/compute/engine/self_check.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "tests/testing/compute_goldens.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

bool Never() { return false; }

std::vector<InvariantResult> Check(const std::shared_ptr<const Model>& model,
                                   const std::string& directory) {
  auto results = CheckModel(model, directory, {}, /*seed=*/3, Never);
  EXPECT_TRUE(results.ok()) << results.status();
  return results.value_or(std::vector<InvariantResult>());
}

std::vector<std::string> Failed(const std::vector<InvariantResult>& results) {
  std::vector<std::string> names;
  for (const InvariantResult& result : results) {
    if (!result.passed()) names.push_back(result.name);
  }
  return names;
}

class SelfCheckTest : public testing::TestWithParam<std::string> {};

TEST_P(SelfCheckTest, PassesForEveryFamily) {
  const std::string directory =
      ReadGolden("models/" + GetParam()).directory + "/model";
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto model = LoadGoldenModel(directory, dtype);
    ASSERT_NE(model, nullptr);
    const std::vector<InvariantResult> results = Check(model, directory);
    ASSERT_EQ(results.size(), 13U);
    for (const InvariantResult& result : results) {
      EXPECT_TRUE(result.passed())
          << result.name << ": " << result.difference << " of " << result.limit
          << " over " << result.compared_count << " " << result.message;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, SelfCheckTest,
                         testing::ValuesIn(GoldenNames("models")),
                         [](const auto& info) { return info.param; });

TEST(SelfCheckFailsTest, WeightsThatChangedOnDisk) {
  const TempFolder folder;
  const std::string directory = folder.path() + "/model";
  std::filesystem::copy(ReadGolden("models/llama").directory + "/model",
                        directory);
  const auto model = LoadGoldenModel(directory, at::kFloat);
  ASSERT_NE(model, nullptr);
  EXPECT_TRUE(Failed(Check(model, directory)).empty());
  const std::string weights = directory + "/model.safetensors";
  const auto size = std::filesystem::file_size(weights);
  {
    std::fstream file(weights, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(size) - 5);
    file.put('\x11');
  }
  EXPECT_EQ(Failed(Check(model, directory)),
            std::vector<std::string>{"weights = files"});
}

TEST(SelfCheckFailsTest, WeightsThatAreNotFinite) {
  const std::string directory = ReadGolden("models/llama").directory + "/model";
  const auto model = LoadGoldenModel(directory, at::kFloat);
  ASSERT_NE(model, nullptr);
  at::Tensor down = model->weights().blocks[2].down.weight;
  down[3][4].fill_(std::numeric_limits<float>::quiet_NaN());
  const std::vector<InvariantResult> results = Check(model, directory);
  EXPECT_GT(Failed(results).size(), 10U);
  EXPECT_NE(results[1].message.find("mlp_out of block 2"), std::string::npos)
      << results[1].message;
}

}  // namespace
}  // namespace dissonance
