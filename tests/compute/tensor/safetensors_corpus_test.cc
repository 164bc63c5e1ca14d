// Every file of the corpus gets the verdict of the safetensors library, and
// the files that it accepts give the bytes that it gives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/sha256.h"
#include "src/compute/tensor/safetensors.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::TestWithParam;
using ::testing::ValuesIn;

const std::string kCorpus =
    std::string(DISSONANCE_SOURCE_DIR) + "/tests/goldens/safetensors_corpus/";

nlohmann::json ReadIndex() {
  const std::string path = kCorpus + "index.json";
  return ParseJson(ReadFile(path, 1 << 20).value(), path).value();
}

std::vector<nlohmann::json> Cases() {
  const nlohmann::json index = ReadIndex();
  for (const auto& value : index) {
    if (value.is_array()) return value.get<std::vector<nlohmann::json>>();
  }
  return {};
}

class SafetensorsCorpusTest : public TestWithParam<nlohmann::json> {};

TEST_P(SafetensorsCorpusTest, GetsTheLibrarysVerdict) {
  const nlohmann::json& entry = GetParam();
  const std::string path = kCorpus + entry["file"].get<std::string>();
  const auto file = SafetensorsFile::Open(path);
  if (!entry["valid"].get<bool>()) {
    ASSERT_FALSE(file.ok()) << "should be refused: " << entry["reason"];
    EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(path));
    return;
  }
  if (!file.ok() && entry.value("either_accepted", false)) return;
  ASSERT_TRUE(file.ok()) << file.status();
  const nlohmann::json& tensors = entry["tensors"];
  ASSERT_EQ((*file)->tensors().size(), tensors.size());
  for (const auto& [name, expected] : tensors.items()) {
    SCOPED_TRACE(name);
    const auto found = (*file)->tensors().find(name);
    ASSERT_NE(found, (*file)->tensors().end());
    EXPECT_EQ(found->second.dtype, expected["dtype"]);
    EXPECT_EQ(found->second.shape,
              expected["shape"].get<std::vector<int64_t>>());
    const auto tensor = (*file)->Load(name);
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    EXPECT_EQ(tensor->sizes().vec(), found->second.shape);
    const absl::string_view bytes(
        static_cast<const char*>(tensor->const_data_ptr()), tensor->nbytes());
    EXPECT_EQ(Sha256Of(bytes),
              "sha256:" + expected["sha256"].get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(Corpus, SafetensorsCorpusTest, ValuesIn(Cases()),
                         [](const auto& info) {
                           const auto file =
                               info.param["file"].template get<std::string>();
                           return file.substr(0, file.find('.'));
                         });

TEST(SafetensorsCorpusTest, HasMalformedAndValidFiles) {
  EXPECT_GE(Cases().size(), 60u);
}

// A refusal says which field of which tensor is wrong.
TEST(SafetensorsCorpusTest, NamesTensorAndReason) {
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"negative_shape", "tensor \"a.weight\": shape[0] is -2"},
      {"overlapping_offsets", "tensor \"b.bias\": data_offsets"},
      {"hole_between", "tensor \"b.bias\": bytes 24 to 32"},
      {"truncated_data", "tensor \"b.bias\": its data ends at byte 40"},
      {"unknown_dtype", "tensor \"a.weight\": unknown dtype \"F33\""},
      {"missing_shape", "tensor \"a.weight\": has no shape"},
      {"metadata_value_not_string", "__metadata__: "},
      {"header_len_beyond_file", "the header's length is"},
      {"header_nul_padding", "NUL byte"},
      {"trailing_bytes", "the last 1 bytes of the file belong to no tensor"},
  };
  for (const auto& [name, message] : expected) {
    const auto file = SafetensorsFile::Open(kCorpus + name + ".safetensors");
    ASSERT_FALSE(file.ok()) << name;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace dissonance
