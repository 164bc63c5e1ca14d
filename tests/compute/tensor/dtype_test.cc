#include "src/compute/tensor/dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "absl/strings/match.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

TEST(DtypeTest, NamesRoundTrip) {
  for (const char* name : {"float32", "bfloat16", "float16", "float64"}) {
    EXPECT_EQ(DtypeName(ParseDtype(name).value()), name);
  }
}

TEST(DtypeTest, RefusesOtherNamesAndListsTheKnown) {
  for (const char* name : {"", "Float32", "fp32", "int8", "torch.float32"}) {
    const absl::Status status = ParseDtype(name).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(status.message()), HasSubstr("bfloat16"));
  }
}

TEST(DtypeTest, KnowsBytes) {
  EXPECT_EQ(DtypeBytes(at::ScalarType::Double), 8);
  EXPECT_EQ(DtypeBytes(at::ScalarType::Float), 4);
  EXPECT_EQ(DtypeBytes(at::ScalarType::BFloat16), 2);
  EXPECT_EQ(DtypeBytes(at::ScalarType::Half), 2);
}

TEST(DeviceTest, ParsesCpuAndCuda) {
  EXPECT_TRUE(ParseDevice("cpu")->is_cpu());
  EXPECT_EQ(ParseDevice("cuda:0").value(), at::Device(at::DeviceType::CUDA, 0));
  EXPECT_EQ(ParseDevice("cuda:127")->index(), 127);
}

TEST(DeviceTest, RefusesOtherNames) {
  for (const char* name : {"", "cuda", "cuda:", "cuda:-1", "cuda:128",
                           "cuda:0 ", "cuda: 0", "cuda:+1", "CPU", "gpu:0"}) {
    EXPECT_EQ(ParseDevice(name).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
}

// In a child, because the libraries stay loaded.
TEST(OpenCudaLibrariesDeathTest, OpensThemOrSaysWhichIsMissing) {
  const auto open = [] {
    const absl::Status status = OpenCudaLibraries();
    const bool named = absl::StrContains(status.message(), "libtorch_cuda.so");
    std::_Exit(status.ok() || (named && !absl::IsInternal(status)) ? 0 : 1);
  };
  EXPECT_EXIT(open(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace dissonance
