#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/compute/tensor/safetensors.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kModels =
    std::string(DISSONANCE_SOURCE_DIR) + "/tests/goldens/models/";
constexpr char kIndex[] = "model.safetensors.index.json";

class CheckpointTest : public ::testing::Test {
 protected:
  void WriteShard(const std::string& file,
                  const std::vector<std::string>& names) {
    std::vector<NamedTensor> tensors;
    for (const std::string& name : names) {
      tensors.emplace_back(name, at::zeros({2}));
    }
    ASSERT_TRUE(WriteSafetensors(folder_.File(file), tensors).ok());
  }
  void WriteIndex(const std::string& weight_map) {
    ASSERT_TRUE(WriteFileAtomically(folder_.File(kIndex),
                                    "{\"weight_map\":" + weight_map + "}")
                    .ok());
  }
  // The refusal of the folder as it is.
  absl::Status Refusal() { return Checkpoint::Open(folder_.path()).status(); }
  void ExpectRefusal(const std::string& file, const std::string& reason) {
    const absl::Status status = Refusal();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(folder_.File(file)), HasSubstr(reason)));
  }

  TempFolder folder_;
};

TEST_F(CheckpointTest, OpensEveryGoldenModel) {
  for (const auto& entry : std::filesystem::directory_iterator(kModels)) {
    SCOPED_TRACE(entry.path());
    const auto checkpoint = Checkpoint::Open(entry.path() / "model");
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    uint64_t bytes = 0;
    for (const std::string& name : (*checkpoint)->names()) {
      EXPECT_TRUE((*checkpoint)->Contains(name));
      const auto tensor = (*checkpoint)->Load(name);
      ASSERT_TRUE(tensor.ok()) << tensor.status();
      EXPECT_EQ(tensor->sizes().vec(), (*checkpoint)->Info(name)->shape);
      bytes += tensor->nbytes();
    }
    EXPECT_GT(bytes, 0u);
    EXPECT_EQ((*checkpoint)->TotalBytes(), bytes);
  }
}

TEST_F(CheckpointTest, SingleFileDigestIsTheFiles) {
  const auto checkpoint = Checkpoint::Open(kModels + "llama/model");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->Digest().value(),
            Sha256OfFile(kModels + "llama/model/model.safetensors").value());
}

TEST_F(CheckpointTest, DigestIsTheSameInAnotherFolderAndSeesEveryByte) {
  const std::string source = kModels + "llama_sharded/model";
  std::filesystem::copy(source, folder_.path(),
                        std::filesystem::copy_options::recursive);
  const std::string digest = Checkpoint::Open(source).value()->Digest().value();
  EXPECT_EQ(Checkpoint::Open(folder_.path()).value()->Digest().value(), digest);

  const std::string shard = folder_.File("model-00003-of-00003.safetensors");
  std::string bytes = ReadFile(shard, 64 << 20).value();
  bytes.back() ^= 1;
  ASSERT_TRUE(WriteFileAtomically(shard, bytes).ok());
  EXPECT_NE(Checkpoint::Open(folder_.path()).value()->Digest().value(), digest);
}

TEST_F(CheckpointTest, UnknownTensorIsNotFound) {
  const auto checkpoint = Checkpoint::Open(kModels + "llama/model");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_FALSE((*checkpoint)->Contains("none"));
  EXPECT_EQ((*checkpoint)->Info("none").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ((*checkpoint)->Load("none").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(CheckpointTest, SingleFileGoesBeforeAnIndex) {
  WriteShard("model.safetensors", {"a"});
  WriteIndex("{\"b\":\"gone.safetensors\"}");
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT((*checkpoint)->names(), ElementsAre("a"));
}

TEST_F(CheckpointTest, RefusesATensorThatNoShardHolds) {
  WriteShard("1.safetensors", {"a"});
  WriteIndex("{\"a\":\"1.safetensors\",\"b\":\"1.safetensors\"}");
  ExpectRefusal(kIndex, "tensor \"b\" is not in 1.safetensors");
}

TEST_F(CheckpointTest, RefusesATensorThatTheIndexDoesNotList) {
  WriteShard("1.safetensors", {"a", "b"});
  WriteIndex("{\"a\":\"1.safetensors\"}");
  ExpectRefusal("1.safetensors", "tensor \"b\": is not listed in");
}

TEST_F(CheckpointTest, RefusesATensorInAnotherShardThanListed) {
  WriteShard("1.safetensors", {"a"});
  WriteShard("2.safetensors", {"b"});
  WriteIndex("{\"a\":\"2.safetensors\",\"b\":\"1.safetensors\"}");
  ExpectRefusal("1.safetensors",
                "tensor \"a\": is listed in \"2.safetensors\"");
}

TEST_F(CheckpointTest, RefusesATensorInTwoShards) {
  WriteShard("1.safetensors", {"a"});
  WriteShard("2.safetensors", {"a", "b"});
  WriteIndex("{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}");
  ExpectRefusal("2.safetensors", "tensor \"a\": is also in");
}

TEST_F(CheckpointTest, NamesAMissingShardAndItsIndex) {
  WriteIndex("{\"a\":\"1.safetensors\"}");
  const absl::Status status = Refusal();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(folder_.File("1.safetensors")),
                    HasSubstr(folder_.File(kIndex))));
}

TEST_F(CheckpointTest, RefusesShardNamesThatLeaveTheFolder) {
  for (const char* shard :
       {"../1.safetensors", "/etc/passwd", "a/1.safetensors", "..", ".", "",
        "a\\\\1.safetensors", "a\\u0000.safetensors"}) {
    WriteIndex("{\"a\":\"" + std::string(shard) + "\"}");
    ExpectRefusal(kIndex, "is not a plain file name");
  }
}

TEST_F(CheckpointTest, RefusesAMalformedIndex) {
  for (const char* weight_map : {"[]", "null", "{}", "{\"a\":1}"}) {
    WriteIndex(weight_map);
    ExpectRefusal(kIndex, "weight_map");
  }
  WriteIndex("{\"a\":\"1\",\"a\":\"2\"}");
  ExpectRefusal(kIndex, "appears twice");
  ASSERT_TRUE(WriteFileAtomically(folder_.File(kIndex), "{").ok());
  ExpectRefusal(kIndex, "not JSON");
  ASSERT_TRUE(WriteFileAtomically(folder_.File(kIndex), "[1]").ok());
  ExpectRefusal(kIndex, "weight_map");
}

TEST_F(CheckpointTest, SaysHowToConvertAPickle) {
  ASSERT_TRUE(WriteFileAtomically(folder_.File("pytorch_model.bin"), "").ok());
  const absl::Status status = Refusal();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("pytorch_model.bin"), HasSubstr("save_file")));
}

TEST_F(CheckpointTest, EmptyOrMissingFolderIsNotFound) {
  EXPECT_EQ(Refusal().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Checkpoint::Open(folder_.File("none")).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dissonance
