// A pipeline as a TOML file, which has the fields of the API's messages:
//
//   title = "Cubic gravity"
//   [networks.base]                    # names for networks
//   model = "tiny-world"
//   [[stages]]                         # PipelineStage, in order
//   name = "mcq"
//   gates = ["behaviour"]
//   [stages.evaluate_mcq]              # one kind, a message of JobSpec
//   variants = ["base", "cubic"]       # names from [networks], or tables
//   data = "mcqs.jsonl"                # bytes: a file beside this one
//   scoring = "option_text"            # enums in lower case, without prefix
//
// Where a field can take another stage's result, {stage = "docs", file =
// "docs.jsonl"} does for data, {stage = "extract"} for a job or a direction.
// Models, adapters and directions may be given by their short names. Thread
// safe.
//
//   ASSIGN_OR_RETURN(v1::PipelineSpec spec, ReadPipelineFile(path, send));
#ifndef DISSONANCE_CLIENT_CLI_PIPELINE_FILE_H_
#define DISSONANCE_CLIENT_CLI_PIPELINE_FILE_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/jobs.pb.h"

namespace dissonance::cli {

// Stores a file that is too large for a request; gives the artifact's name.
using FileSender = std::function<absl::StatusOr<std::string>(
    const std::string& path, const std::string& bytes)>;

// INVALID_ARGUMENT, with file and line, for what is no TOML, a field that a
// message does not have (with those it has), or a value of another type.
absl::StatusOr<v1::PipelineSpec> ReadPipelineFile(const std::string& path,
                                                  const FileSender& send);

// The status with file and line in front, if it is of a field of a stage
// ("pipeline.stages[1] (mcq).gates[0]: ...", as the server says it).
absl::Status AtItsLine(const absl::Status& status, const std::string& path);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_PIPELINE_FILE_H_
