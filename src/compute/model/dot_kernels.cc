#include "src/compute/model/dot_kernels.h"

namespace dissonance {

const DotKernels& BestDotKernels() {
#if defined(__x86_64__)
  static const DotKernels& best =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512vl")
          ? kAvx512DotKernels
      : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
          ? kAvx2DotKernels
          : kPortableDotKernels;
  return best;
#else
  return kPortableDotKernels;
#endif
}

}  // namespace dissonance
