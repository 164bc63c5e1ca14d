// The file of a train_probes job that holds its probes, probes.safetensors:
// of each probe TARGET.VARIANT.PLACE.cC the tensors NAME.weight, NAME.mean,
// NAME.scale and, of two classes, NAME.direction; the text "probes" is a JSON
// object that gives norm, bias, residual_norm, target and c by NAME. Pure
// functions; thread safe.
//
//   v1::ProbeVectors asked;
//   asked.set_variant_index(1);
//   ASSIGN_OR_RETURN(std::vector<v1::DirectionVector> vectors,
//                    ReadProbeVectors(bytes, asked));
#ifndef DISSONANCE_LAB_DIRECTIONS_PROBE_FILE_H_
#define DISSONANCE_LAB_DIRECTIONS_PROBE_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/probes.pb.h"

namespace dissonance {

inline constexpr char kProbeFileName[] = "probes.safetensors";

// The directions of the probes that are asked for, by place as the file has
// them. `chosen` is told what was asked for, with the target and the C that
// were the only ones filled in. `asked.job` is for messages. INVALID_ARGUMENT,
// with the choices, if target, variant, place or C fits none, or several where
// one is needed, or for probes of several classes, which have no direction;
// DATA_LOSS for a file of another form.
absl::StatusOr<std::vector<v1::DirectionVector>> ReadProbeVectors(
    std::string bytes, const v1::ProbeVectors& asked,
    v1::ProbeVectors* chosen = nullptr);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DIRECTIONS_PROBE_FILE_H_
