// dissonance-bench-probes: the fits of probes without server and wire. Each
// line of standard input says what to fit and is answered with a line:
//
//   {"rows": "rows.safetensors", "places": ["0", "1"], "folds": [...],
//    "labels": [...], "permutations": 1, "tolerance": 1e-7, "device": "cpu"}
//
// `places` are tensors [rows, width] of the file, on the device before the time
// is taken; `labels` are classes. The answer has `seconds`, `aucs`
// [places][folds] and `dummy_aucs` [places]; with no places `shuffled`, the
// controls' labels [permutations][rows].
#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "src/base/status_macros.h"
#include "src/compute/probe/place_fit.h"
#include "src/compute/probe/place_fits.h"
#include "src/compute/tensor/dtype.h"
#include "src/compute/tensor/safetensors.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

absl::StatusOr<std::shared_ptr<const ProbePlan>> PlanOf(
    const nlohmann::json& request) {
  ProbeOptions options;
  options.fold_of_row = request["folds"].get<std::vector<int32_t>>();
  options.test_fraction = 0.0;
  options.bootstrap_count = 0;
  options.permutation_count = request["permutations"];
  options.tolerance = request["tolerance"];
  const std::vector<std::string> groups(options.fold_of_row.size());
  return ProbePlan::Create(
      std::move(options),
      {{.name = "labels", .labels = {{.classes = request["labels"]}}}}, groups,
      1);
}

nlohmann::json ShuffledLabels(const ProbePlan& plan) {
  return {{"shuffled", plan.problems()[0].shuffled}};
}

absl::StatusOr<nlohmann::json> Answer(const nlohmann::json& request) {
  if (request["places"].empty()) {
    ASSIGN_OR_RETURN(const std::shared_ptr<const ProbePlan> plan,
                     PlanOf(request));
    return ShuffledLabels(*plan);
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<SafetensorsFile> file,
                   SafetensorsFile::Open(request["rows"].get<std::string>()));
  ASSIGN_OR_RETURN(const at::Device device,
                   ParseDevice(request.value("device", "cpu")));
  if (device.is_cuda()) RETURN_IF_ERROR(OpenCudaLibraries());
  std::vector<at::Tensor> places;
  for (const std::string name : request["places"]) {
    ASSIGN_OR_RETURN(at::Tensor rows, file->Load(name));
    places.push_back(rows.to(device, rows.scalar_type(), false, true));
  }
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const std::shared_ptr<const ProbePlan> plan,
                   PlanOf(request));
  nlohmann::json aucs = nlohmann::json::array();
  nlohmann::json dummy_aucs = nlohmann::json::array();
  PlaceFits fits(
      plan, places.size(),
      [&places](size_t place) {
        return std::vector<at::Tensor>{std::move(places[place])};
      },
      PlaceFits::AtOnce(*plan, places[0].size(1), device));
  for (size_t place = 0; place < places.size(); ++place) {
    while (fits.RunPiece()) {
    }
    ASSIGN_OR_RETURN(const std::vector<FittedProbe> probes, fits.Take());
    const FittedProbe& probe = probes.front();
    aucs.push_back(probe.auc->folds);
    dummy_aucs.push_back(probe.dummy_auc_mean.value_or(0.5));
  }
  const std::chrono::duration<double> taken =
      std::chrono::steady_clock::now() - start;
  return nlohmann::json{{"aucs", std::move(aucs)},
                        {"dummy_aucs", std::move(dummy_aucs)},
                        {"seconds", taken.count()}};
}

absl::Status Run() {
  std::string line;
  while (std::getline(std::cin, line)) {
    ASSIGN_OR_RETURN(const nlohmann::json answer,
                     Answer(nlohmann::json::parse(line)));
    std::cout << answer.dump() << "\n" << std::flush;
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace dissonance

int main() {
  const absl::Status status = dissonance::CatchTorch("bench", dissonance::Run);
  if (status.ok()) return EXIT_SUCCESS;
  std::fprintf(stderr, "error: %s\n", status.ToString().c_str());
  return EXIT_FAILURE;
}
