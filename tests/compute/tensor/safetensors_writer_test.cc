#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/compute/tensor/safetensors.h"
#include "src/compute/tensor/safetensors_stream.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kReadLimit = 64 << 20;
const std::string kGoldens =
    std::string(DISSONANCE_SOURCE_DIR) + "/tests/goldens/";

// Every torch type that the format has.
const std::vector<at::ScalarType>& AllTypes() {
  using S = at::ScalarType;
  static const std::vector<S> types = {S::Bool,
                                       S::Byte,
                                       S::Char,
                                       S::Short,
                                       S::Int,
                                       S::Long,
                                       S::UInt16,
                                       S::UInt32,
                                       S::UInt64,
                                       S::Half,
                                       S::BFloat16,
                                       S::Float,
                                       S::Double,
                                       S::ComplexFloat,
                                       S::Float8_e5m2,
                                       S::Float8_e4m3fn,
                                       S::Float8_e8m0fnu,
                                       S::Float8_e4m3fnuz,
                                       S::Float8_e5m2fnuz};
  return types;
}

// Bytes that differ from place to place, NaN patterns among them.
at::Tensor Filled(std::vector<int64_t> shape, at::ScalarType type) {
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(type));
  auto* bytes = static_cast<uint8_t*>(tensor.mutable_data_ptr());
  const uint8_t mask = type == at::ScalarType::Bool ? 1 : 0xFF;
  for (size_t i = 0; i < tensor.nbytes(); ++i) {
    bytes[i] = static_cast<uint8_t>(i * 37 + 251) & mask;
  }
  return tensor;
}

std::string BytesOf(const at::Tensor& tensor) {
  if (tensor.nbytes() == 0) return {};
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

class SafetensorsWriterTest : public ::testing::Test {
 protected:
  std::string path() const { return folder_.File("x.safetensors"); }
  std::string Written() const { return ReadFile(path(), kReadLimit).value(); }

  TempFolder folder_;
};

TEST_F(SafetensorsWriterTest, RoundTripsEveryDtypeBitForBit) {
  std::vector<NamedTensor> tensors;
  for (const at::ScalarType type : AllTypes()) {
    const std::string name = c10::toString(type);
    tensors.emplace_back(name + ".matrix", Filled({3, 5}, type));
    tensors.emplace_back(name + ".scalar", Filled({}, type));
    tensors.emplace_back(name + ".empty", Filled({4, 0, 2}, type));
  }
  ASSERT_TRUE(WriteSafetensors(path(), tensors).ok());
  const auto file = SafetensorsFile::Open(path());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const auto loaded = (*file)->Load(name);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(loaded->scalar_type(), tensor.scalar_type()) << name;
    EXPECT_EQ(loaded->sizes(), tensor.sizes()) << name;
    EXPECT_EQ(BytesOf(*loaded), BytesOf(tensor)) << name;
    const uint64_t width = tensor.element_size();
    EXPECT_EQ((*file)->tensors().at(name).begin % width, 0u) << name;
  }
}

TEST_F(SafetensorsWriterTest, WritesTheLibrarysBytes) {
  for (const char* golden :
       {"models/llama/model/model.safetensors",
        "models/llama_sharded/model/model-00002-of-00003.safetensors",
        "models/mistral/model/model.safetensors",
        "lora/llama_qkvo_r8/adapter/adapter_model.safetensors"}) {
    SCOPED_TRACE(golden);
    const auto file = SafetensorsFile::Open(kGoldens + golden);
    ASSERT_TRUE(file.ok()) << file.status();
    std::vector<NamedTensor> tensors;
    for (const auto& [name, info] : (*file)->tensors()) {
      tensors.emplace_back(name, (*file)->Load(name).value());
    }
    ASSERT_TRUE(WriteSafetensors(path(), tensors, (*file)->metadata()).ok());
    EXPECT_TRUE(Written() == ReadFile(kGoldens + golden, kReadLimit).value());
  }
}

TEST_F(SafetensorsWriterTest, SerializesTheFilesBytes) {
  const std::vector<NamedTensor> tensors = {
      {"b", Filled({3}, at::ScalarType::Byte)},
      {"a", Filled({2, 5}, at::ScalarType::Float).t()}};
  ASSERT_TRUE(WriteSafetensors(path(), tensors, {{"k", "v"}}).ok());
  std::string bytes;
  const auto append = [&](absl::string_view piece) {
    bytes.append(piece.data(), piece.size());
    return absl::OkStatus();
  };
  ASSERT_TRUE(SerializeSafetensors(tensors, {{"k", "v"}}, append).ok());
  EXPECT_TRUE(bytes == Written());
}

TEST_F(SafetensorsWriterTest, SerializingEndsWithWhatTheSinkReturns) {
  int calls = 0;
  const auto full = [&](absl::string_view) {
    ++calls;
    return absl::CancelledError("enough");
  };
  const std::vector<NamedTensor> one = {{"a", at::zeros({1})}};
  EXPECT_EQ(SerializeSafetensors(one, {}, full).code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(SerializeSafetensors({{"a", at::Tensor()}}, {}, full).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(calls, 1);
}

TEST_F(SafetensorsWriterTest, DigestsWithoutAFileWhatTheFileHas) {
  // Less than a piece of the digest, exactly one with the header, and more.
  const auto piece = static_cast<int64_t>(kDigestPieceBytes);
  const std::vector<NamedTensor> nothing = {
      {"a", Filled({piece}, at::ScalarType::Byte)}};
  ASSERT_TRUE(WriteSafetensors(path(), nothing).ok());
  const auto header = static_cast<int64_t>(Written().size()) - piece;
  for (const int64_t size :
       {int64_t{10}, piece - header, piece, 2 * piece - header + 7}) {
    const std::vector<NamedTensor> tensors = {
        {"a", Filled({size}, at::ScalarType::Byte)}};
    ASSERT_TRUE(WriteSafetensors(path(), tensors).ok());
    const auto file = SafetensorsFile::Open(path());
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(SafetensorsDigest(tensors).value(), (*file)->Digest().value())
        << size;
  }
}

TEST_F(SafetensorsWriterTest, BytesDoNotDependOnTheOrderGiven) {
  std::vector<NamedTensor> tensors = {
      {"b", Filled({3}, at::ScalarType::Byte)},
      {"c", Filled({2}, at::ScalarType::Double)},
      {"a", Filled({2}, at::ScalarType::Float)}};
  ASSERT_TRUE(WriteSafetensors(path(), tensors, {{"z", "1"}, {"y", ""}}).ok());
  const std::string first = Written();
  std::reverse(tensors.begin(), tensors.end());
  ASSERT_TRUE(WriteSafetensors(path(), tensors, {{"y", ""}, {"z", "1"}}).ok());
  EXPECT_EQ(Written(), first);
}

TEST_F(SafetensorsWriterTest, WritesViewsByValue) {
  const at::Tensor matrix = at::arange(12).reshape({3, 4});
  const std::vector<NamedTensor> tensors = {
      {"t", matrix.t()},
      {"row", matrix.select(0, 1)},
      {"grad", Filled({2}, at::ScalarType::Float).set_requires_grad(true)}};
  ASSERT_TRUE(WriteSafetensors(path(), tensors).ok());
  const auto file = SafetensorsFile::Open(path());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(at::equal((*file)->Load("t").value(), matrix.t()));
  EXPECT_TRUE(at::equal((*file)->Load("row").value(), matrix.select(0, 1)));
}

TEST_F(SafetensorsWriterTest, RoundTripsOddNamesAndMetadata) {
  const std::string odd("quote\" back\\ \n\x01 \0 \xE5\x90\x8D", 21);
  const at::Tensor one = at::zeros({1});
  const SafetensorsMetadata metadata = {{odd, odd}, {"", ""}};
  ASSERT_TRUE(WriteSafetensors(path(), {{odd, one}, {"", one}}, metadata).ok());
  const auto file = SafetensorsFile::Open(path());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->metadata(), metadata);
  EXPECT_TRUE((*file)->Load(odd).ok());
  EXPECT_TRUE((*file)->Load("").ok());
}

TEST_F(SafetensorsWriterTest, WritesNoTensors) {
  ASSERT_TRUE(WriteSafetensors(path(), {}).ok());
  EXPECT_TRUE(SafetensorsFile::Open(path()).ok());
}

TEST_F(SafetensorsWriterTest, RefusesWhatTheFormatCannotHold) {
  const at::Tensor one = at::zeros({1});
  const at::Tensor complex =
      at::zeros({1}, at::TensorOptions().dtype(at::kComplexDouble));
  const std::vector<std::vector<NamedTensor>> bad = {{{"a", one}, {"a", one}},
                                                     {{"__metadata__", one}},
                                                     {{"\xff", one}},
                                                     {{"a", at::Tensor()}},
                                                     {{"a", complex}}};
  for (const auto& tensors : bad) {
    const absl::Status status = WriteSafetensors(path(), tensors);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(path()));
  }
  EXPECT_EQ(WriteSafetensors(path(), {}, {{"k", "\xff"}}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(folder_.Names(), ElementsAre());
}

TEST_F(SafetensorsWriterTest, FullDiskKeepsTheOldFile) {
  ASSERT_TRUE(WriteSafetensors(path(), {{"a", at::zeros({1})}}).ok());
  const std::string old = Written();
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 4096;
  ::setrlimit(RLIMIT_FSIZE, &small);
  const absl::Status status =
      WriteSafetensors(path(), {{"a", at::zeros({100'000})}});
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("400000 bytes"));
  EXPECT_EQ(Written(), old);
  EXPECT_THAT(folder_.Names(), ElementsAre("x.safetensors"));
}

class ShardedWriterTest : public SafetensorsWriterTest {
 protected:
  // Ten tensors of 40 bytes.
  static std::vector<NamedTensor> Ten() {
    std::vector<NamedTensor> tensors;
    for (char name = 'a'; name < 'a' + 10; ++name) {
      tensors.emplace_back(std::string(1, name),
                           Filled({10}, at::ScalarType::Float));
    }
    return tensors;
  }
};

TEST_F(ShardedWriterTest, ShardsReadBackAsTheSameCheckpoint) {
  ASSERT_TRUE(WriteShardedSafetensors(folder_.path(), Ten(), {}, 120).ok());
  EXPECT_THAT(folder_.Names(), ElementsAre("model-00001-of-00004.safetensors",
                                           "model-00002-of-00004.safetensors",
                                           "model-00003-of-00004.safetensors",
                                           "model-00004-of-00004.safetensors",
                                           "model.safetensors.index.json"));
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->TotalBytes(), 400u);
  for (const auto& [name, tensor] : Ten()) {
    EXPECT_TRUE(BytesOf((*checkpoint)->Load(name).value()) == BytesOf(tensor));
  }
  const std::string index = folder_.File("model.safetensors.index.json");
  const auto json = ParseJson(ReadFile(index, kReadLimit).value(), index);
  EXPECT_EQ((*json)["metadata"]["total_size"], 400);
}

TEST_F(ShardedWriterTest, OneShardNeedsNoIndex) {
  ASSERT_TRUE(WriteShardedSafetensors(folder_.path(), Ten(), {}, 400).ok());
  EXPECT_THAT(folder_.Names(), ElementsAre("model.safetensors"));
}

TEST_F(ShardedWriterTest, TensorAboveTheLimitGetsAShardOfItsOwn) {
  ASSERT_TRUE(WriteShardedSafetensors(folder_.path(), Ten(), {}, 1).ok());
  EXPECT_EQ(folder_.Names().size(), 11u);
  EXPECT_TRUE(Checkpoint::Open(folder_.path()).ok());
}

TEST_F(ShardedWriterTest, NeverMixesWithAnotherCheckpoint) {
  ASSERT_TRUE(WriteShardedSafetensors(folder_.path(), Ten(), {}, 400).ok());
  EXPECT_EQ(WriteShardedSafetensors(folder_.path(), Ten(), {}, 40).code(),
            absl::StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace dissonance
