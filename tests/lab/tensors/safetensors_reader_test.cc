#include "src/lab/tensors/safetensors_reader.h"

#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/tensors/safetensors_writer.h"
#include "tests/client/safetensors_file.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::vector<float> Floats(const v1::Tensor& tensor) {
  EXPECT_EQ(tensor.dtype(), v1::DTYPE_FLOAT32);
  std::vector<float> out(tensor.data().size() / sizeof(float));
  tensor.data().copy(reinterpret_cast<char*>(out.data()), tensor.data().size());
  return out;
}

class SafetensorsReaderTest : public ::testing::Test {
 protected:
  // A file of these bytes; returns its path.
  std::string Write(const std::string& bytes) const {
    const std::string path = folder_.File("v.safetensors");
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  const TempFolder folder_;
};

TEST_F(SafetensorsReaderTest, ReadsEveryFloatType) {
  const std::string path = Write(SafetensorsBytes(
      R"({"__metadata__":{"site":"z"},)"
      R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},)"
      R"("c":{"dtype":"BF16","shape":[2],"data_offsets":[16,20]},)"
      R"("d":{"dtype":"F16","shape":[1,4],"data_offsets":[20,28]}})",
      BytesOf<float>({1.5F, -2}) + BytesOf<double>({0.1}) +
          BytesOf<uint16_t>({0x3FC0, 0xC000}) +
          BytesOf<uint16_t>({0x3C00, 0xC100, 0x0001, 0x7C00})));
  EXPECT_THAT(Floats(*ReadTensor(path, "a")), ElementsAre(1.5F, -2));
  EXPECT_EQ(ReadTensor(path, "b")->dtype(), v1::DTYPE_FLOAT64);
  EXPECT_EQ(ReadTensor(path, "b")->data(), BytesOf<double>({0.1}));
  EXPECT_THAT(Floats(*ReadTensor(path, "c")), ElementsAre(1.5F, -2));
  const auto half = ReadTensor(path, "d");
  EXPECT_THAT(
      Floats(*half),
      ElementsAre(1, -2.5F, 0x1p-24F, std::numeric_limits<float>::infinity()));
  EXPECT_THAT(half->shape(), ElementsAre(1, 4));
}

TEST_F(SafetensorsReaderTest, AsksForATensorsNameWhereThereAreSeveral) {
  const std::string path = Write(SafetensorsBytes(
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
      R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      BytesOf<float>({1, 2})));
  const absl::Status unnamed = ReadTensor(path, "").status();
  EXPECT_EQ(unnamed.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(unnamed.message(), path + ": name one of its 2 tensors, as in " +
                                   path + ":a; it holds a, b");
  const absl::Status unknown = ReadTensor(path, "c").status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(unknown.message(), path + ":c: no such tensor; it holds a, b");
  EXPECT_EQ(ReadTensor(folder_.File("absent"), "").status().message(),
            folder_.File("absent") + ": no such file");
  EXPECT_THAT(std::string(ReadTensor(folder_.path(), "").status().message()),
              HasSubstr("not a regular file"));
}

TEST_F(SafetensorsReaderTest, RefusesMalformedFilesWithFileAndTensor) {
  const auto entry = [](const std::string& fields) {
    return SafetensorsBytes(R"({"v":{)" + fields + "}}", std::string(8, 'x'));
  };
  const std::pair<std::string, const char*> cases[] = {
      {"", "not a safetensors file"},
      {"\x80\x02}q\x01.........", "not a safetensors file"},
      {std::string(8, '\xFF') + "{}", "not a safetensors file"},
      {SafetensorsBytes("{\"v\"", ""), "header: not JSON"},
      {SafetensorsBytes("[]", ""), "header: not a JSON object"},
      {SafetensorsBytes("{}", ""), "holds no tensors"},
      {SafetensorsBytes(R"({"v":3})", ""), ":v: the header does not give"},
      {entry(R"("dtype":"F32","shape":[2])"), ":v: the header does not give"},
      {entry(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"),
       ":v: the header does not give"},
      {entry(R"("dtype":"F32","shape":[1.5],"data_offsets":[0,8])"),
       ":v: the header does not give"},
      {entry(R"("dtype":"I64","shape":[1],"data_offsets":[0,8])"),
       ":v: has type I64; convert it"},
      {entry(R"("dtype":"F32","shape":[0],"data_offsets":[0,0])"),
       ":v: holds no numbers"},
      {entry(R"("dtype":"F32","shape":[3],"data_offsets":[0,12])"),
       ":v: data_offsets [0, 12]"},
      {entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"),
       ":v: data_offsets [0, 4]"},
      {entry(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"),
       ":v: data_offsets [8, 0]"},
      {entry(R"("dtype":"F32","shape":[2],)"
             R"("data_offsets":[4611686018427387904,4611686018427387904])"),
       ":v: data_offsets"},
      {entry(R"("dtype":"F64","shape":[4294967296,4294967296],)"
             R"("data_offsets":[0,8])"),
       ":v: has shape [4294967296, 4294967296], larger than the limit"},
  };
  for (const auto& [bytes, message] : cases) {
    const std::string path = Write(bytes);
    const auto tensor = ReadTensor(path, "");
    ASSERT_FALSE(tensor.ok()) << message;
    EXPECT_THAT(std::string(tensor.status().message()), HasSubstr(message));
    EXPECT_THAT(std::string(tensor.status().message()), HasSubstr(path));
  }
}

TEST_F(SafetensorsReaderTest, ReadsWhatTheWriterWritesAlsoFromMemory) {
  std::string bytes = SafetensorsHeader(
      {{"b", v1::DTYPE_FLOAT32, {2}}, {"a", v1::DTYPE_FLOAT64, {1, 1}}},
      {{"method", "given"}});
  bytes += BytesOf<float>({1, 2}) + BytesOf<double>({0.1});
  auto file = TensorFile::Parse(bytes, "memory");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->names(), ElementsAre("a", "b"));
  EXPECT_THAT(file->metadata(), ElementsAre(Pair("method", "given")));
  EXPECT_THAT(Floats(*file->Read("b")), ElementsAre(1, 2));
  EXPECT_EQ(file->Read("a")->data(), BytesOf<double>({0.1}));
  EXPECT_THAT(std::string(file->Read("c").status().message()),
              HasSubstr("memory:c: no such tensor"));
  EXPECT_EQ(ReadTensor(Write(bytes), "b")->data(), file->Read("b")->data());
}

TEST_F(SafetensorsReaderTest, ReadsHeadersAsLongAsTheLibraryDoes) {
  const std::string bytes = SafetensorsBytes(
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})" +
          std::string(17 << 20, ' '),
      BytesOf<float>({1}));
  auto file = TensorFile::Parse(bytes, "memory");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(Floats(*file->Read("a")), ElementsAre(1));
}

TEST_F(SafetensorsReaderTest, RefusesTruncatedBytes) {
  std::string bytes = SafetensorsHeader({{"a", v1::DTYPE_FLOAT32, {2}}}, {}) +
                      BytesOf<float>({1, 2});
  for (size_t size = 0; size < bytes.size(); ++size) {
    auto file = TensorFile::Parse(bytes.substr(0, size), "memory");
    EXPECT_FALSE(file.ok() && file->Read("a").ok()) << size;
  }
}

}  // namespace
}  // namespace dissonance
