#include "src/compute/engine/device_defaults.h"

#include <gtest/gtest.h>

namespace dissonance {
namespace {

TEST(FillDeviceDefaults, OnTheCpuTheyAreTheEnginesOwn) {
  EngineOptions options{
      .step_tokens = 0, .decode_step_tokens = 0, .kv_cache_bytes = 0};
  FillDeviceDefaults(at::kCPU, options);
  const EngineOptions own;
  EXPECT_EQ(options.step_tokens, own.step_tokens);
  EXPECT_EQ(options.decode_step_tokens, own.decode_step_tokens);
  EXPECT_EQ(options.kv_cache_bytes, own.kv_cache_bytes);
}

TEST(FillDeviceDefaults, LeaveWhatSomebodySaid) {
  EngineOptions options{
      .step_tokens = 7, .decode_step_tokens = 8, .kv_cache_bytes = 9};
  FillDeviceDefaults(at::kCPU, options);
  EXPECT_EQ(options.step_tokens, 7);
  EXPECT_EQ(options.decode_step_tokens, 8);
  EXPECT_EQ(options.kv_cache_bytes, 9);
}

}  // namespace
}  // namespace dissonance
