// Which networks answer now: their digests, versions and settings, before
// anything of theirs is recorded. Thread safe as far as the client is.
//
//   ASSIGN_OR_RETURN(std::vector<v1::Provenance> now,
//                    AskNetworks(compute, variants, inputs[0], call));
#ifndef DISSONANCE_LAB_INTERP_ASK_NETWORKS_H_
#define DISSONANCE_LAB_INTERP_ASK_NETWORKS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dissonance/v1/common.pb.h"
#include "src/lab/interp/interp_client.h"

namespace dissonance {

// One per variant, by a pass over one input, whose activations are dropped.
absl::StatusOr<std::vector<v1::Provenance>> AskNetworks(
    InterpClient& compute, absl::Span<const v1::Variant> variants,
    const v1::Input& input, const CallOptions& call);

// Short and different names of variants, for files and folders: "base", or the
// adapter's; of steered ones "-steered" behind; of equal ones "-2", "-3".
std::vector<std::string> VariantLabels(absl::Span<const v1::Variant> variants);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_ASK_NETWORKS_H_
