#include "tests/compute/probe/probe_testing.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/base/mix.h"

namespace dissonance {

at::Tensor ProbeGolden::Tensor(const std::string& name) const {
  auto read = data->Load(name);
  EXPECT_TRUE(read.ok()) << name << ": " << read.status();
  return *read;
}

std::vector<int64_t> ProbeGolden::Indices(const std::string& name) const {
  const at::Tensor tensor = Tensor(name).contiguous();
  const auto* values = tensor.const_data_ptr<int64_t>();
  return {values, values + tensor.numel()};
}

std::vector<int32_t> ProbeGolden::Folds(const std::string& labels) const {
  std::vector<int32_t> folds(static_cast<size_t>(row_count()), -1);
  const std::string prefix = labels == "true" ? "" : labels + ".";
  for (int32_t fold = 0; fold < 5; ++fold) {
    for (const int64_t row :
         Indices(prefix + "fold" + std::to_string(fold) + ".test")) {
      folds[static_cast<size_t>(row)] = fold;
    }
  }
  return folds;
}

std::vector<int32_t> ProbeGolden::Classes(const std::string& labels) const {
  const std::vector<int64_t> y = Indices("y");
  std::vector<int32_t> classes(y.begin(), y.end());
  if (labels != "dummy") return classes;
  std::vector<int32_t> shuffled;
  for (const int64_t row : Indices("permutation")) {
    shuffled.push_back(classes[static_cast<size_t>(row)]);
  }
  return shuffled;
}

ProbeGolden ReadProbeGolden(const std::string& name) {
  const GoldenCase golden = ReadGolden("probes/" + name);
  ProbeGolden probe{.config = golden.config, .data = nullptr};
  auto opened = SafetensorsFile::Open(golden.directory + "/data.safetensors");
  EXPECT_TRUE(opened.ok()) << opened.status();
  probe.data = *opened;
  return probe;
}

MadeRows MakeRows(int64_t n, int64_t width, double gap, uint64_t seed) {
  MadeRows made{.rows = at::empty({n, width}), .classes = {}};
  auto rows = made.rows.accessor<float, 2>();
  uint64_t key = Mix(seed);
  for (int64_t i = 0; i < n; ++i) {
    made.classes.push_back(static_cast<int32_t>(i % 2));
    for (int64_t j = 0; j < width; ++j) {
      double sum = 0.0;  // of four, nearly normal
      for (int k = 0; k < 4; ++k) {
        key = Mix(key);
        sum += static_cast<double>(key >> 11) * 0x1p-53 - 0.5;
      }
      rows[i][j] = static_cast<float>(sum * std::sqrt(3.0) +
                                      (j == 0 ? gap * (i % 2) : 0.0));
    }
  }
  return made;
}

std::vector<FittedProbe> FitPlace(std::shared_ptr<const ProbePlan> plan,
                                  std::vector<at::Tensor> rows) {
  auto fit = PlaceFit::Create(std::move(plan), std::move(rows));
  EXPECT_TRUE(fit.ok()) << fit.status();
  while ((*fit)->RunPiece()) {
  }
  auto probes = (*fit)->Take();
  EXPECT_TRUE(probes.ok()) << probes.status();
  return *std::move(probes);
}

std::shared_ptr<const ProbePlan> PlanFor(const ProbeOptions& options,
                                         const ProbeLabels& labels,
                                         std::vector<std::string> groups,
                                         int64_t variant_count) {
  groups.resize(std::max(labels.classes.size(), labels.values.size()));
  auto plan = ProbePlan::Create(options, {{.name = "t", .labels = {labels}}},
                                groups, variant_count);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *plan;
}

ProbeOptions PlainOptions() {
  ProbeOptions options;
  options.permutation_count = 0;
  options.bootstrap_count = 0;
  options.test_fraction = 0.0;
  return options;
}

}  // namespace dissonance
