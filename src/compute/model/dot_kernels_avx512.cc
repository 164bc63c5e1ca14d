#define DISSONANCE_VECTOR_BYTES 64
#define DISSONANCE_ACCUMULATORS 16
#include "src/compute/model/dot_kernels_attention.h"

namespace dissonance {

const DotKernels kAvx512DotKernels = kDotKernelsHere;

}  // namespace dissonance
