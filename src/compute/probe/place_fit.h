// All probes of one place: every problem of a plan, with its folds, split,
// controls and values of C, in batches that share the rows. Works in pieces, so
// that whoever owns the device can do something else in between. One thread at
// a time.
//
//   ASSIGN_OR_RETURN(auto fit, PlaceFit::Create(plan, rows));
//   while (fit->RunPiece()) {
//   }
//   ASSIGN_OR_RETURN(std::vector<FittedProbe> probes, fit->Take());
#ifndef DISSONANCE_COMPUTE_PROBE_PLACE_FIT_H_
#define DISSONANCE_COMPUTE_PROBE_PLACE_FIT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "src/compute/probe/probe_options.h"
#include "src/compute/probe/probe_plan.h"

namespace dissonance {

class PlaceFit {
 public:
  // `rows` has [rows, width] of each variant, floating point, on one device.
  // INVALID_ARGUMENT naming the variant and the row (both from 0) if a number
  // is not finite. May throw c10::Error, as below.
  static absl::StatusOr<std::unique_ptr<PlaceFit>> Create(
      std::shared_ptr<const ProbePlan> plan, std::vector<at::Tensor> rows);
  ~PlaceFit();

  // Does some milliseconds of work. Returns whether there is more.
  bool RunPiece();

  // By problem, then C. Call once, after RunPiece returned false.
  // INVALID_ARGUMENT naming the target if numbers overflowed.
  absl::StatusOr<std::vector<FittedProbe>> Take();

  // Bytes that a fit to so many rows takes at most, beside the rows.
  static int64_t Bytes(const ProbePlan& plan, int64_t width);

 private:
  class Impl;
  explicit PlaceFit(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_PLACE_FIT_H_
