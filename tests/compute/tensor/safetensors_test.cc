#include "src/compute/tensor/safetensors.h"

#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kGoldens =
    std::string(DISSONANCE_SOURCE_DIR) + "/tests/goldens/";

std::string MessageOf(const absl::Status& status) {
  return std::string(status.message());
}

// The bytes of a file with this header and data.
std::string FileBytes(const std::string& json, const std::string& data) {
  const uint64_t length = json.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + json + data;
}

class SafetensorsTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::shared_ptr<SafetensorsFile>> Open(
      const std::string& bytes) {
    const std::string path = folder_.File("x.safetensors");
    EXPECT_TRUE(WriteFileAtomically(path, bytes).ok());
    return SafetensorsFile::Open(path);
  }
  // One tensor "a".
  absl::StatusOr<std::shared_ptr<SafetensorsFile>> OpenOne(
      const std::string& dtype, const std::string& shape, size_t bytes) {
    return Open(FileBytes(
        absl::StrCat("{\"a\":{\"dtype\":\"", dtype, "\",\"shape\":", shape,
                     ",\"data_offsets\":[0,", bytes, "]}}"),
        std::string(bytes, '\2')));
  }

  TempFolder folder_;
};

TEST_F(SafetensorsTest, LoadedTensorsShareTheMappingAndOutliveTheFile) {
  at::Tensor first;
  at::Tensor second;
  {
    auto file = SafetensorsFile::Open(
        kGoldens + "safetensors_corpus/valid_unordered_header.safetensors");
    ASSERT_TRUE(file.ok()) << file.status();
    first = (*file)->Load("a.weight").value();
    second = (*file)->Load("a.weight").value();
  }
  EXPECT_EQ(first.const_data_ptr(), second.const_data_ptr());
  EXPECT_TRUE(at::equal(first, second));
}

TEST_F(SafetensorsTest, CopiesWhatIsNotAligned) {
  const auto file = SafetensorsFile::Open(
      kGoldens + "safetensors_corpus/misaligned_header.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const at::Tensor tensor = (*file)->Load("a.weight").value();
  const auto address = reinterpret_cast<uintptr_t>(tensor.const_data_ptr());
  EXPECT_EQ(address % sizeof(float), 0u);
  EXPECT_NE((*file)->tensors().at("a.weight").begin % sizeof(float), 0u);
}

TEST_F(SafetensorsTest, UnknownNameIsNotFound) {
  const auto file = OpenOne("F32", "[1]", 4);
  const absl::Status status = (*file)->Load("b").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(status),
              AllOf(HasSubstr((*file)->path()), HasSubstr("\"b\"")));
}

TEST_F(SafetensorsTest, DtypeThatTorchLacksOpensButDoesNotLoad) {
  for (const char* dtype : {"F4", "F6_E2M3", "F6_E3M2"}) {
    const auto file = OpenOne(dtype, "[8]", dtype[1] == '4' ? 4 : 6);
    ASSERT_TRUE(file.ok()) << file.status();
    const absl::Status status = (*file)->Load("a").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(MessageOf(status), HasSubstr(dtype));
  }
}

TEST_F(SafetensorsTest, RefusesElementsThatEndInsideAByte) {
  EXPECT_EQ(OpenOne("F4", "[3]", 2).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenOne("F6_E3M2", "[3]", 3).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SafetensorsTest, RefusesBooleansThatAreNeitherTrueNorFalse) {
  const auto file = OpenOne("BOOL", "[2]", 2);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->Load("a").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SafetensorsTest, EmptyTensorWithAHugeFactorNeverAllocates) {
  const auto file = OpenOne("F32", "[0, 1099511627776, 1099511627776]", 0);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto tensor = (*file)->Load("a");
  EXPECT_TRUE(!tensor.ok() || tensor->numel() == 0);
}

TEST_F(SafetensorsTest, RefusesRepeatedKeysEverywhere) {
  const std::string entry =
      "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}";
  const std::vector<std::string> headers = {
      absl::StrCat("{\"a\":", entry, ",\"a\":", entry, "}"),
      absl::StrCat("{\"a\":", entry, ",\"\\u0061\":", entry, "}"),
      "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],"
      "\"data_offsets\":[0,1]}}",
      absl::StrCat("{\"__metadata__\":{},\"__metadata__\":{},\"a\":", entry,
                   "}"),
      absl::StrCat("{\"__metadata__\":{\"k\":\"1\",\"k\":\"1\"},\"a\":", entry,
                   "}"),
  };
  for (const std::string& header : headers) {
    const absl::Status status = Open(FileBytes(header, "1")).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << header;
    EXPECT_THAT(MessageOf(status), HasSubstr("twice"));
  }
}

TEST_F(SafetensorsTest, IgnoresUnknownFieldsOfAnyShape) {
  const auto file = Open(FileBytes(
      "{\"a\":{\"dtype\":\"U8\",\"note\":{\"shape\":[[-1],{\"dtype\":null}]},"
      "\"shape\":[1],\"tags\":[1,2.5,true,\"x\"],\"data_offsets\":[0,1]}}",
      "1"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->tensors().at("a").shape, std::vector<int64_t>{1});
}

TEST_F(SafetensorsTest, KeepsMessagesShortAndPrintableWhateverTheName) {
  const std::string name = std::string(100'000, 'n') + "\\n\\u0001";
  const absl::Status status =
      Open(FileBytes("{\"" + name + "\":5}", "")).status();
  EXPECT_LT(status.message().size(), 1000u);
  EXPECT_THAT(MessageOf(status), HasSubstr("nnn...\": is 5, not an object"));
}

TEST_F(SafetensorsTest, ReadsMetadata) {
  const auto file = SafetensorsFile::Open(
      kGoldens + "safetensors_corpus/valid_metadata.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_FALSE((*file)->metadata().empty());
}

TEST_F(SafetensorsTest, RecognisesPicklesAndOtherFormatsByContent) {
  const std::vector<std::pair<std::string, std::string>> foreign = {
      {"PK\x03\x04" + std::string(40, '\0'), "save_file"},
      {"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.", "save_file"},
      {"\x80\x04}q", "save_file"},
      {"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
      {"GGUF\x03" + std::string(40, '\0'), "GGUF"},
  };
  for (const auto& [bytes, advice] : foreign) {
    const absl::Status status = Open(bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(MessageOf(status), HasSubstr(advice));
  }
}

TEST_F(SafetensorsTest, RefusesTheGoldenPickleUnderAnyName) {
  const std::string pickle =
      ReadFile(kGoldens + "lora/reject_bin_pickle/adapter/adapter_model.bin",
               1 << 20)
          .value();
  const absl::Status status = Open(pickle).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), HasSubstr("pickle"));
}

TEST_F(SafetensorsTest, DoesNotTakeAValidFileForAPickle) {
  std::string json = "{}";
  json.resize(0x0280, ' ');  // the file begins with 0x80 0x02
  const auto file = Open(FileBytes(json, ""));
  EXPECT_TRUE(file.ok()) << file.status();
}

TEST_F(SafetensorsTest, RefusesWhatIsNoRegularFile) {
  EXPECT_EQ(SafetensorsFile::Open(folder_.File("none")).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(SafetensorsFile::Open(folder_.path()).status().code(),
            absl::StatusCode::kInvalidArgument);
  ASSERT_EQ(::mkfifo(folder_.File("pipe").c_str(), 0600), 0);
  EXPECT_EQ(SafetensorsFile::Open(folder_.File("pipe")).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SafetensorsFile::Open(std::string("a\0b", 3)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SafetensorsTest, FileCutShortAfterOpenGivesAnErrorAndNoSignal) {
  const size_t bytes = 1 << 20;
  const auto file = OpenOne("U8", "[1048576]", bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(::truncate((*file)->path().c_str(), 100), 0);
  const absl::Status status = (*file)->Load("a").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), HasSubstr("shrank"));
  EXPECT_EQ((*file)->Digest().status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(SafetensorsTest, ReplacedFileStaysReadableAsItWas) {
  const auto file = OpenOne("U8", "[3]", 3);
  ASSERT_TRUE(WriteFileAtomically((*file)->path(), "").ok());
  EXPECT_EQ((*file)->Load("a")->numel(), 3);
}

TEST_F(SafetensorsTest, DigestIsThatOfTheBytes) {
  const std::string path = kGoldens + "models/llama/model/model.safetensors";
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->Digest().value(), Sha256OfFile(path).value());
  EXPECT_EQ((*file)->file_bytes(), std::filesystem::file_size(path));
}

}  // namespace
}  // namespace dissonance
