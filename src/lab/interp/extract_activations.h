// The job kind extract_activations: activations of variants over a set of
// prompts, into files.
//
// Each variant has a folder as `dissonance activations` writes it: "base/
// activations-00000.safetensors", ..., "base/metadata.jsonl" with one line a
// row, "base/manifest.json". One recorded item is a shard, which is stored
// before: a shard ends with the first prompt that brings it to `shard_bytes`,
// so a job that was interrupted cuts them alike and gives the same bytes as one
// that was not. Stateless and thread safe; `compute` must outlive the kind.
//
//   ExtractActivations kind(compute);
//   RETURN_IF_ERROR(kind.Validate(spec));
//   RETURN_IF_ERROR(kind.Run(spec, job));
#ifndef DISSONANCE_LAB_INTERP_EXTRACT_ACTIVATIONS_H_
#define DISSONANCE_LAB_INTERP_EXTRACT_ACTIVATIONS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/interp/interp_client.h"
#include "src/lab/jobs/job_kind.h"

namespace dissonance {

class ExtractActivations : public JobKind {
 public:
  struct Options {
    // Held in memory until they are stored, and computed again if the worker
    // is lost before.
    int64_t shard_bytes = int64_t{32} << 20;
  };

  explicit ExtractActivations(InterpClient& compute)
      : ExtractActivations(compute, Options()) {}
  ExtractActivations(InterpClient& compute, Options options)
      : compute_(compute), options_(options) {}

  // INVALID_ARGUMENT with file, line and field for bad rows, or naming the
  // field of the spec. SITE_PATTERN, whose rows are ragged, is refused.
  absl::Status Validate(const v1::JobSpec& spec) override;

  // FAILED_PRECONDITION if the job has records of a network that has been
  // replaced since; RESOURCE_EXHAUSTED for a prompt with more than 1 GiB.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;

  // The weights of its models.
  DeviceMemory Memory(const v1::JobSpec& spec) override;

 private:
  InterpClient& compute_;
  const Options options_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_EXTRACT_ACTIVATIONS_H_
