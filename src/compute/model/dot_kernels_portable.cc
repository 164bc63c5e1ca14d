#define DISSONANCE_VECTOR_BYTES 16
#define DISSONANCE_ACCUMULATORS 8
#include "src/compute/model/dot_kernels_attention.h"

namespace dissonance {

const DotKernels kPortableDotKernels = kDotKernelsHere;

}  // namespace dissonance
