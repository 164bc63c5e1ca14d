#define DISSONANCE_VECTOR_BYTES 32
#define DISSONANCE_ACCUMULATORS 8
#include "src/compute/model/dot_kernels_attention.h"

namespace dissonance {

const DotKernels kAvx2DotKernels = kDotKernelsHere;

}  // namespace dissonance
