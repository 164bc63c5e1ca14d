// What a job is given besides numbers and names: bytes, sent with the spec or
// stored as artifacts before. A string field NAME_artifact of a spec stands for
// the bytes field NAME. Pure but for reading artifacts; thread safe.
#ifndef DISSONANCE_LAB_JOBS_JOB_INPUTS_H_
#define DISSONANCE_LAB_JOBS_JOB_INPUTS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/artifacts/artifact_store.h"

namespace dissonance {

// The artifacts that a spec names, by field and then position.
std::vector<std::string> ArtifactsOf(const v1::JobSpec& spec);

// The spec with the bytes of the artifacts that it names in their place, and
// the names still there. INVALID_ARGUMENT if a field has both;
// RESOURCE_EXHAUSTED for more than 256 MiB; DATA_LOSS if an artifact is
// damaged.
absl::StatusOr<v1::JobSpec> WithData(const v1::JobSpec& spec,
                                     ArtifactStore& artifacts);

// Each input by digest. REQUIRES: `with_data` came from WithData.
std::vector<v1::JobInput> InputsOf(const v1::JobSpec& with_data);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_INPUTS_H_
