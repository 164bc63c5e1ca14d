// For loops over numbers side by side: a function with this attribute is
// compiled for each kind of vector unit, and the loader picks.
#ifndef DISSONANCE_COMPUTE_TENSOR_VECTOR_KERNEL_H_
#define DISSONANCE_COMPUTE_TENSOR_VECTOR_KERNEL_H_

// The loader picks before ThreadSanitizer is ready for instrumented code.
#ifdef __SANITIZE_THREAD__
#define DISSONANCE_VECTOR_KERNEL
#else
#define DISSONANCE_VECTOR_KERNEL \
  __attribute__((target_clones("avx512f", "avx2", "default")))
#endif

#endif  // DISSONANCE_COMPUTE_TENSOR_VECTOR_KERNEL_H_
