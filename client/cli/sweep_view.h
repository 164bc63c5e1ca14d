// Steering and patch sweeps as people read them, from a job's files. Pure but
// for reading files; thread safe.
//
//   ASSIGN_OR_RETURN(std::string text, SteeringText(directory, heat));
#ifndef DISSONANCE_CLIENT_CLI_SWEEP_VIEW_H_
#define DISSONANCE_CLIENT_CLI_SWEEP_VIEW_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/heat.h"

namespace dissonance::cli {

// The grid as a heat map of returned answers with the controls beside them,
// the best and the minimal effective setting, the null and the gate.
// DATA_LOSS if the files are not those of a steering sweep.
absl::StatusOr<std::string> SteeringText(const std::string& directory,
                                         const Heat& heat);

// The map of each site as a heat map, both directions, and what carries most.
// DATA_LOSS if the files are not those of a patch sweep.
absl::StatusOr<std::string> PatchSweepText(const std::string& directory,
                                           const Heat& heat);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_SWEEP_VIEW_H_
