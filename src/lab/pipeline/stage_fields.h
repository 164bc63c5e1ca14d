// Fields of a stage's spec by their path, "steering_sweep.directions[0]": what
// another stage's results are put into, and adapters by name. Pure functions;
// thread safe.
//
//   ASSIGN_OR_RETURN(InputKind kind, InputKindOf(input, stage.spec()));
//   RETURN_IF_ERROR(FillInput(input, value, spec));
#ifndef DISSONANCE_LAB_PIPELINE_STAGE_FIELDS_H_
#define DISSONANCE_LAB_PIPELINE_STAGE_FIELDS_H_

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.pb.h"
#include "google/protobuf/repeated_field.h"

namespace dissonance {

// What a field takes of another stage.
enum class InputKind {
  kArtifact,   // a file, by the artifact's name
  kJob,        // the job, by its name
  kDirection,  // the vectors of its direction file
};

// INVALID_ARGUMENT if the spec has no such field, or one that takes nothing of
// another stage.
absl::StatusOr<InputKind> InputKindOf(const v1::StageInput& input,
                                      const v1::JobSpec& spec);

// `value`: a name, or the bytes of a direction file. DATA_LOSS for a file of
// another form. REQUIRES: InputKindOf is OK.
absl::Status FillInput(const v1::StageInput& input, const std::string& value,
                       v1::JobSpec& spec);

using Vectors = google::protobuf::RepeatedPtrField<v1::DirectionVector>;

// The same for a field that takes a direction. REQUIRES: InputKindOf gives
// kDirection.
absl::Status PutDirection(const v1::StageInput& input, const Vectors& vectors,
                          v1::JobSpec& spec);

// Adapters that a spec names, beside the one that it makes.
std::set<std::string> AdaptersIn(const v1::JobSpec& spec);

// Puts `after` wherever the spec names the adapter `before`, also the one that
// it makes.
void RenameAdapter(absl::string_view before, const std::string& after,
                   v1::JobSpec& spec);

// Puts the base in place of an adapter that is yet to be made, for checks, with
// an intervention that changes nothing: it stays another network than the base.
void StandInFor(absl::string_view adapter, v1::JobSpec& spec);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_PIPELINE_STAGE_FIELDS_H_
