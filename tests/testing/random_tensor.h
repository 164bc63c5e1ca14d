// Random inputs that are the same in every run.
#ifndef DISSONANCE_TESTS_TESTING_RANDOM_TENSOR_H_
#define DISSONANCE_TESTS_TESTING_RANDOM_TENSOR_H_

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>

#include <cstdint>
#include <vector>

namespace dissonance {

// A tensor of independent standard normal numbers: the same for a seed.
inline at::Tensor RandomTensor(const std::vector<int64_t>& shape,
                               at::ScalarType dtype, uint64_t seed) {
  return at::empty(shape, at::kDouble)
      .normal_(0, 1, at::make_generator<at::CPUGeneratorImpl>(seed))
      .to(dtype);
}

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_TESTING_RANDOM_TENSOR_H_
