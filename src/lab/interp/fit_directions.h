// The job kind fit_directions: a direction in the rows of a set of prompts, for
// every place asked for. Its one recorded item is the direction; the files are
// made of it. Stateless and thread safe; `compute` must outlive the kind.
//
//   FitDirections kind(compute);
//   RETURN_IF_ERROR(kind.Validate(spec));
//   RETURN_IF_ERROR(kind.Run(spec, job));
#ifndef DISSONANCE_LAB_INTERP_FIT_DIRECTIONS_H_
#define DISSONANCE_LAB_INTERP_FIT_DIRECTIONS_H_

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/interp/interp_client.h"
#include "src/lab/jobs/job_kind.h"

namespace dissonance {

// The file with the vectors, as DirectionFile writes it.
inline constexpr char kDirectionFileName[] = "direction.safetensors";

class FitDirections : public JobKind {
 public:
  explicit FitDirections(InterpClient& compute) : compute_(compute) {}

  // INVALID_ARGUMENT with file, line and field for bad rows, or naming the
  // field of the spec: a method that nothing is fitted with, a label that no
  // row has, one class only, a place that the model does not have.
  absl::Status Validate(const v1::JobSpec& spec) override;

  // FAILED_PRECONDITION if a network was replaced since the direction was
  // recorded.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;

  // The weights of its model.
  DeviceMemory Memory(const v1::JobSpec& spec) override;

 private:
  InterpClient& compute_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_FIT_DIRECTIONS_H_
