// dissonance direction make --job: a direction by name of what a job found.
// Thread safe if the connection is.
#ifndef DISSONANCE_CLIENT_CLI_DIRECTION_OF_JOB_H_
#define DISSONANCE_CLIENT_CLI_DIRECTION_OF_JOB_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/connection.h"
#include "client/cli/places.h"
#include "dissonance/v1/jobs.pb.h"
#include "dissonance/v1/probes.pb.h"

namespace dissonance::cli {

// Which of a train_probes job's probes; of a fit_directions job nothing of it
// may be given.
struct ProbeChoice {
  std::string target;
  int32_t variant_index = 0;
  double c = 0;
};

// What keeps the vectors of a fit_directions job or the probes of a
// train_probes job, all or those at `place`; name and sharing are the caller's.
// FAILED_PRECONDITION for a job of another kind, or one that did not succeed;
// INVALID_ARGUMENT for a place that it does not have.
absl::StatusOr<v1::CreateDirectionRequest> DirectionOfJob(
    Connection& connection, const std::string& job, const ProbeChoice& choice,
    const std::optional<Place>& place);

// The same of probes, without a look at the job.
v1::CreateDirectionRequest DirectionOfProbes(const std::string& job,
                                             const ProbeChoice& choice,
                                             const std::optional<Place>& place);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_DIRECTION_OF_JOB_H_
