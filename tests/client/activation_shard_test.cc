#include "client/cli/activation_shard.h"

#include <cstdlib>
#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/tensors/safetensors_reader.h"
#include "tests/client/safetensors_file.h"

namespace dissonance::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ActivationShardTest : public ::testing::Test {
 protected:
  ActivationShardTest() {
    std::string path = "/tmp/shard.XXXXXX";
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    directory_ = path;
    auto shard = ActivationShard::Create(directory_);
    EXPECT_TRUE(shard.ok()) << shard.status();
    shard_ = std::make_unique<ActivationShard>(*std::move(shard));
  }
  ~ActivationShardTest() override { std::filesystem::remove_all(directory_); }

  static v1::ActivationRows Rows(int request, int count) {
    v1::ActivationRows rows;
    for (int i = 0; i < count; ++i) {
      rows.add_rows()->set_input_index(request);
    }
    return rows;
  }

  static v1::ActivationChunk Chunk(v1::Site site, int first_row,
                                   const std::vector<int64_t>& shape,
                                   const std::vector<float>& numbers) {
    v1::ActivationChunk chunk;
    chunk.mutable_place()->set_site(site);
    if (site != v1::SITE_LOGITS) chunk.mutable_place()->set_block(4);
    chunk.set_first_row(first_row);
    chunk.mutable_tensor()->set_dtype(v1::DTYPE_FLOAT32);
    chunk.mutable_tensor()->mutable_shape()->Add(shape.begin(), shape.end());
    chunk.mutable_tensor()->set_data(BytesOf(numbers));
    return chunk;
  }

  absl::Status AddRow(int request, float value) {
    if (auto status = shard_->Announce(Rows(request, 1)); !status.ok()) {
      return status;
    }
    return shard_->Add(Chunk(v1::SITE_RESID_POST, 0, {1, 2}, {value, -value}));
  }

  // Writes the shard and reads one tensor of it.
  v1::Tensor Written(const std::string& name) {
    const std::string path = directory_ + "/out.safetensors";
    const absl::Status status = shard_->Write(path);
    EXPECT_TRUE(status.ok()) << status;
    auto tensor = ReadTensor(path, name);
    EXPECT_TRUE(tensor.ok()) << tensor.status();
    return tensor.ok() ? *tensor : v1::Tensor();
  }

  std::string directory_;
  std::unique_ptr<ActivationShard> shard_;
};

TEST_F(ActivationShardTest, JoinsTheRowsOfAPlaceWhateverLiesBetween) {
  ASSERT_TRUE(shard_->Announce(Rows(0, 3)).ok());
  ASSERT_TRUE(
      shard_->Add(Chunk(v1::SITE_RESID_POST, 0, {2, 2}, {1, 2, 3, 4})).ok());
  ASSERT_TRUE(shard_->Add(Chunk(v1::SITE_RESID_POST, 2, {1, 2}, {5, 6})).ok());
  ASSERT_TRUE(shard_->Add(Chunk(v1::SITE_LOGITS, 0, {3, 1}, {7, 8, 9})).ok());
  ASSERT_TRUE(shard_->Keep().ok());
  ASSERT_TRUE(shard_->Announce(Rows(1, 1)).ok());
  ASSERT_TRUE(shard_->Add(Chunk(v1::SITE_LOGITS, 0, {1, 1}, {10})).ok());
  ASSERT_TRUE(
      shard_->Add(Chunk(v1::SITE_RESID_POST, 0, {1, 2}, {11, 12})).ok());
  ASSERT_TRUE(shard_->Keep().ok());
  EXPECT_EQ(shard_->row_count(), 4);
  const v1::Tensor resid = Written("blocks.4.resid_post");
  EXPECT_THAT(resid.shape(), ElementsAre(4, 2));
  EXPECT_EQ(resid.data(),
            BytesOf(std::vector<float>{1, 2, 3, 4, 5, 6, 11, 12}));
  EXPECT_EQ(ReadTensor(directory_ + "/out.safetensors", "logits")->data(),
            BytesOf(std::vector<float>{7, 8, 9, 10}));
}

TEST_F(ActivationShardTest, ForgetsWhatWasNotKept) {
  ASSERT_TRUE(AddRow(0, 1).ok());
  ASSERT_TRUE(shard_->Keep().ok());
  ASSERT_TRUE(AddRow(1, 2).ok());
  ASSERT_TRUE(shard_->Drop().ok());
  ASSERT_TRUE(AddRow(1, 3).ok());
  ASSERT_TRUE(shard_->Keep().ok());
  ASSERT_TRUE(AddRow(2, 4).ok());
  EXPECT_EQ(Written("blocks.4.resid_post").data(),
            BytesOf(std::vector<float>{1, -1, 3, -3}));
}

TEST_F(ActivationShardTest, BeginsAnewAfterItWasWritten) {
  ASSERT_TRUE(AddRow(0, 1).ok());
  ASSERT_TRUE(shard_->Keep().ok());
  Written("blocks.4.resid_post");
  EXPECT_EQ(shard_->row_count(), 0);
  EXPECT_EQ(shard_->byte_count(), 0);
  ASSERT_TRUE(AddRow(1, 2).ok());
  ASSERT_TRUE(shard_->Keep().ok());
  EXPECT_EQ(Written("blocks.4.resid_post").data(),
            BytesOf(std::vector<float>{2, -2}));
}

TEST_F(ActivationShardTest, APatternIsATensorOfEachRequestWithHeadsFirst) {
  ASSERT_TRUE(shard_->Announce(Rows(7, 2)).ok());
  // [2 queries, 2 heads, 2 keys]
  ASSERT_TRUE(
      shard_
          ->Add(Chunk(v1::SITE_PATTERN, 0, {2, 2, 2}, {1, 0, 2, 0, 3, 4, 5, 6}))
          .ok());
  ASSERT_TRUE(shard_->Announce(Rows(7, 1)).ok());
  ASSERT_TRUE(
      shard_->Add(Chunk(v1::SITE_PATTERN, 0, {1, 2, 3}, {7, 8, 9, 10, 11, 12}))
          .ok());
  ASSERT_TRUE(shard_->Keep().ok());
  const v1::Tensor pattern = Written("blocks.4.pattern.7");
  EXPECT_THAT(pattern.shape(), ElementsAre(2, 3, 3));
  EXPECT_EQ(pattern.data(),
            BytesOf(std::vector<float>{1, 0, 0, 3, 4, 0, 7, 8, 9,  //
                                       2, 0, 0, 5, 6, 0, 10, 11, 12}));
}

TEST_F(ActivationShardTest, RefusesRowsThatMakeNoSense) {
  ASSERT_TRUE(AddRow(0, 1).ok());
  ASSERT_TRUE(shard_->Keep().ok());
  ASSERT_TRUE(shard_->Announce(Rows(1, 1)).ok());
  const auto refusal = [&](const v1::ActivationChunk& chunk) {
    return std::string(shard_->Add(chunk).message());
  };
  EXPECT_THAT(refusal(Chunk(v1::SITE_RESID_POST, 0, {2, 2}, {1, 2, 3, 4})),
              HasSubstr("blocks.4.resid_post continues with row"));
  EXPECT_THAT(refusal(Chunk(v1::SITE_RESID_POST, 1, {1, 2}, {1, 2})),
              HasSubstr("continues with row 2"));
  EXPECT_THAT(refusal(Chunk(v1::SITE_RESID_POST, 0, {1, 3}, {1, 2, 3})),
              HasSubstr("changed from rows of [2] float32 to [3] float32"));
  EXPECT_THAT(refusal(Chunk(v1::SITE_RESID_POST, 0, {1, 2}, {1})),
              HasSubstr("has 4 bytes for [1, 2] of float32"));
  EXPECT_THAT(refusal(Chunk(v1::SITE_PATTERN, 0, {1, 2}, {1, 2})),
              HasSubstr("has rows of shape [1, 2]"));
  EXPECT_THAT(std::string(shard_->Keep().message()),
              HasSubstr("has 1 of 2 announced rows"));
  EXPECT_THAT(std::string(shard_->Announce(Rows(2, 1)).message()),
              HasSubstr("request 2 begins before request 1 has ended"));
}

TEST_F(ActivationShardTest, LeavesNoTemporaryFile) {
  ASSERT_TRUE(AddRow(0, 1).ok());
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
}

}  // namespace
}  // namespace dissonance::cli
