// Interventions as people write them on the command line, e.g.
// "belief.safetensors@resid_post.3=-4:last_prompt" after --steer. Thread safe.
//
//   ASSIGN_OR_RETURN(InterventionSpec spec,
//                    ParseIntervention(v1::Intervention::kZero, "z.3.h2"));
//   ASSIGN_OR_RETURN(std::vector<v1::Intervention> messages,
//                    ReadIntervention(spec, /*unit_normalize=*/false));
#ifndef DISSONANCE_CLIENT_CLI_INTERVENTIONS_H_
#define DISSONANCE_CLIENT_CLI_INTERVENTIONS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/common.pb.h"

namespace dissonance::cli {

using InterventionKind = v1::Intervention::OperationCase;

// One intervention, parsed; its vector is not read yet.
struct InterventionSpec {
  // "steer belief.safetensors@resid_post.3=-4".
  std::string text;
  // Complete but for the vector.
  v1::Intervention message;
  // FILE or FILE:TENSOR, or a direction's name (IsDirectionName); empty for
  // those without a vector.
  std::string vector;
};

// The option that takes the kind, without dashes ("steer", "project-out",
// "replace", "scale", "zero"), and what is written behind it.
std::string OptionOf(InterventionKind kind);
std::string FormOf(InterventionKind kind);

// Whether the vector is a direction's name on the server, not a file: it has no
// "/", but for "directions/NAME", and no ".safetensors".
bool IsDirectionName(absl::string_view vector);

// INVALID_ARGUMENT with what is wrong and the form. A direction's name alone,
// as in "truth=-4", stands for the places where it was found.
absl::StatusOr<InterventionSpec> ParseIntervention(InterventionKind kind,
                                                   absl::string_view text);

// The messages, with the name of a direction, or the vector from its file:
// [width] or [1, width]. At a site with heads of which none is named also
// [heads, head_dim], which makes a message for each head; to replace at listed
// positions also [positions, width]. `unit_normalize` is that of AddVector.
// INVALID_ARGUMENT for zeros, except to put them in place of what is there.
absl::StatusOr<std::vector<v1::Intervention>> ReadIntervention(
    const InterventionSpec& spec, bool unit_normalize);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_INTERVENTIONS_H_
