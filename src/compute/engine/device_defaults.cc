#include "src/compute/engine/device_defaults.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>

namespace dissonance {
namespace {

constexpr int64_t kCudaStepTokens = 8192;
constexpr int64_t kCudaDecodeStepTokens = 2048;

int64_t FreeBytes(const at::Device& device) {
  at::globalContext().lazyInitDevice(device.type());
  const auto [free, total] =
      at::getDeviceAllocator(device.type())->getMemoryInfo(device.index());
  return static_cast<int64_t>(free);
}

}  // namespace

void FillDeviceDefaults(const at::Device& device, EngineOptions& options) {
  const EngineOptions on_cpu;
  const bool is_cuda = device.is_cuda();
  if (options.step_tokens == 0) {
    options.step_tokens = is_cuda ? kCudaStepTokens : on_cpu.step_tokens;
  }
  if (options.decode_step_tokens == 0) {
    options.decode_step_tokens =
        is_cuda ? kCudaDecodeStepTokens : on_cpu.decode_step_tokens;
  }
  if (options.kv_cache_bytes == 0) {
    options.kv_cache_bytes =
        is_cuda ? FreeBytes(device) / 2 : on_cpu.kv_cache_bytes;
  }
}

}  // namespace dissonance
