// Probes between API messages and what computes them. Thread safe.
#ifndef DISSONANCE_SERVER_WORKER_PROBE_MESSAGES_H_
#define DISSONANCE_SERVER_WORKER_PROBE_MESSAGES_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/common.pb.h"
#include "dissonance/v1/probes.pb.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "src/compute/probe/principal_components.h"
#include "src/compute/probe/probe_options.h"
#include "src/compute/probe/probe_plan.h"

namespace dissonance {

// Unset fields are the defaults. INVALID_ARGUMENT for an enum's value that is
// not known here; what is out of range is left to ProbePlan.
absl::StatusOr<ProbeOptions> OptionsOf(const v1::ProbeOptions& message);

ProbeLabels LabelsOf(const v1::ProbeLabels& message);
std::vector<ProbeTarget> TargetsOf(
    const google::protobuf::RepeatedPtrField<v1::ProbeTarget>& messages);

// How a problem's rows are divided, of `row_count` in all.
v1::ProbeFolds FoldsMessage(const ProbeProblem& problem, int64_t row_count);

// Tensors are written as `dtype`. May throw c10::Error.
v1::ProbeResult ResultMessage(const FittedProbe& probe,
                              const v1::SiteRef& place, at::ScalarType dtype);
v1::PrincipalComponents ComponentsMessage(const PrincipalComponents& found,
                                          const v1::SiteRef& place,
                                          at::ScalarType dtype);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_PROBE_MESSAGES_H_
