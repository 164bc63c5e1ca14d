// What suits a device where nobody said otherwise. Thread safe.
#ifndef DISSONANCE_COMPUTE_ENGINE_DEVICE_DEFAULTS_H_
#define DISSONANCE_COMPUTE_ENGINE_DEVICE_DEFAULTS_H_

#include <ATen/core/Tensor.h>

#include "src/compute/engine/engine_options.h"

namespace dissonance {

// Sets step_tokens, decode_step_tokens and kv_cache_bytes where they are 0. On
// a GPU a step is wide, because reading the weights is what it costs, and
// caches get half of the memory that is free now; its libraries are open. May
// throw c10::Error.
void FillDeviceDefaults(const at::Device& device, EngineOptions& options);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_DEVICE_DEFAULTS_H_
