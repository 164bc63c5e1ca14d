#include "src/compute/tensor/torch_status.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <new>
#include <stdexcept>
#include <string>

// The address sanitizer's allocator must fail as the system's does.
extern "C" const char* __asan_default_options() {
  return "allocator_may_return_null=1";
}

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string MessageOf(const absl::Status& status) {
  return std::string(status.message());
}

TEST(CatchTorchTest, ReturnsWhatTheFunctionReturns) {
  static_assert(std::is_same_v<absl::Status, decltype(CatchTorch("x", [] {}))>);
  EXPECT_TRUE(CatchTorch("x", [] {}).ok());
  EXPECT_EQ(CatchTorch("x", [] { return 3; }).value(), 3);
  EXPECT_EQ(CatchTorch("x", [] { return absl::NotFoundError("none"); }),
            absl::NotFoundError("none"));
  const auto moved = CatchTorch(
      "x", []() -> absl::StatusOr<std::string> { return std::string("text"); });
  EXPECT_EQ(moved.value(), "text");
  EXPECT_EQ(**CatchTorch("x", [] { return std::make_unique<int>(4); }), 4);
}

TEST(CatchTorchTest, OperatorErrorIsInternalInOneLine) {
  const auto product = CatchTorch("block 3", [] {
    return at::mm(at::empty({2, 3}), at::empty({2, 3}));
  });
  EXPECT_EQ(product.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(MessageOf(product.status()),
              AllOf(StartsWith("block 3: "), HasSubstr("2x3"),
                    Not(HasSubstr("\n")), Not(HasSubstr("frame #"))));
}

TEST(CatchTorchTest, CpuAllocationFailureIsResourceExhaustedWithBytes) {
  const auto huge =
      CatchTorch("KV cache", [] { return at::empty({int64_t{1} << 58}); });
  EXPECT_EQ(huge.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(MessageOf(huge.status()),
            "KV cache: out of memory: 1152921504606846976 bytes asked");
}

TEST(CatchTorchTest, CudaAllocationFailureNamesAskedAndFree) {
  const absl::Status status = CatchTorch("KV cache", [] {
    throw c10::OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total "
        "capacity of 79.10 GiB of which 1.23 GiB is free. Including...",
        nullptr);
  });
  EXPECT_EQ(status, absl::ResourceExhaustedError(
                        "KV cache: out of memory: 20.00 GiB asked, 1.23 GiB "
                        "free"));
}

TEST(CatchTorchDeathTest, ALostDeviceEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(CatchTorch("engine step",
                          [] {
                            TORCH_CHECK(false,
                                        "CUDA error: device-side assert "
                                        "triggered");
                          })
                   .IgnoreError(),
               "engine step: CUDA error: device-side assert triggered; ending");
}

TEST(CatchTorchTest, KnowsOtherExceptions) {
  EXPECT_EQ(CatchTorch("x", [] { throw std::bad_alloc(); }),
            absl::ResourceExhaustedError("x: out of memory"));
  EXPECT_EQ(CatchTorch("x", [] { throw std::runtime_error("a\nb"); }),
            absl::InternalError("x: a"));
  EXPECT_EQ(CatchTorch("x", [] { throw 3; }),
            absl::InternalError("x: unknown exception"));
}

}  // namespace
}  // namespace dissonance
