// Probe fixtures of tests/goldens/probes, and rows made up for tests.
#ifndef DISSONANCE_TESTS_COMPUTE_PROBE_PROBE_TESTING_H_
#define DISSONANCE_TESTS_COMPUTE_PROBE_PROBE_TESTING_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/compute/probe/place_fit.h"
#include "src/compute/tensor/safetensors.h"
#include "tests/testing/compute_goldens.h"

namespace dissonance {

// A folder of tests/goldens/probes.
struct ProbeGolden {
  nlohmann::json config;
  std::shared_ptr<SafetensorsFile> data;

  // A tensor as it is stored; fails the test if there is none.
  at::Tensor Tensor(const std::string& name) const;
  // int64 tensors as numbers.
  std::vector<int64_t> Indices(const std::string& name) const;
  int64_t row_count() const { return config["N"]; }
  // Of each row, as the labels "true", "dummy" or "grouped" are divided.
  std::vector<int32_t> Folds(const std::string& labels) const;
  // Classes: y, of "dummy" in another order.
  std::vector<int32_t> Classes(const std::string& labels) const;
};

ProbeGolden ReadProbeGolden(const std::string& name);

// Two classes in turns, `gap` apart along one axis; noise from the seed.
struct MadeRows {
  at::Tensor rows;  // [n, width] float32
  std::vector<int32_t> classes;
};
MadeRows MakeRows(int64_t n, int64_t width, double gap, uint64_t seed);

// All that a place gives, run to the end.
std::vector<FittedProbe> FitPlace(std::shared_ptr<const ProbePlan> plan,
                                  std::vector<at::Tensor> rows);

// A plan for one variant, or a failed test.
std::shared_ptr<const ProbePlan> PlanFor(const ProbeOptions& options,
                                         const ProbeLabels& labels,
                                         std::vector<std::string> groups = {},
                                         int64_t variant_count = 1);

// Without controls, intervals and further split.
ProbeOptions PlainOptions();

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_COMPUTE_PROBE_PROBE_TESTING_H_
