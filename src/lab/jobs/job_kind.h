// What a kind of experiment has to provide, and what it may use while it runs.
// A kind computes a job's items in order and records them as it goes; after a
// crash it is run again and goes on at the first item that was not recorded.
//
//   absl::Status EvaluateMcq::Run(const v1::JobSpec& spec, JobContext& job) {
//     ASSIGN_OR_RETURN(std::vector<std::string> done, job.RecordedItems());
//     for (size_t i = done.size(); i < total; i += batch.size()) {
//       if (job.cancelled()) return absl::CancelledError("cancelled");
//       ...
//       RETURN_IF_ERROR(job.RecordItems(i, batch, total, "questions"));
//     }
//     return job.AddOutput("report.json", "application/json", report,
//                          OutputKind::kResult);
//   }
#ifndef DISSONANCE_LAB_JOBS_JOB_KIND_H_
#define DISSONANCE_LAB_JOBS_JOB_KIND_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/jobs/device_meter.h"
#include "src/lab/jobs/scheduler.h"

namespace dissonance {

// What a job's file depends on.
enum class OutputKind {
  kResult,    // the spec and the networks: another run gives the same bytes
  kNamesRun,  // also the run itself, e.g. the job's name
};

// A running job, as its kind sees it. Used by one thread at a time.
class JobContext {
 public:
  virtual ~JobContext() = default;

  // The job as stored when this attempt began.
  virtual const v1::Job& job() const = 0;

  // Whether the job was asked to stop, for whatever reason. To be asked
  // between batches; the kind then returns CANCELLED.
  virtual bool cancelled() const = 0;

  // Where compute calls add what they took.
  virtual DeviceSpend& spend() = 0;

  // All items recorded so far, by index from 0 without gaps, as stored.
  virtual absl::StatusOr<std::vector<std::string>> RecordedItems() = 0;

  // Durably appends items first_index, first_index + 1, ... in one
  // transaction, and an event with the progress: done_count is first_index +
  // items.size(), total_count as given. FAILED_PRECONDITION if first_index is
  // not the number of recorded items, so nothing is ever recorded twice.
  virtual absl::Status RecordItems(int64_t first_index,
                                   absl::Span<const std::string> items,
                                   int64_t total_count,
                                   absl::string_view unit) = 0;

  // Adds a line for people to the job's events.
  virtual absl::Status Log(absl::string_view line) = 0;

  // Stores a file as an artifact and names it among the job's outputs, in
  // place of an earlier one of the same name.
  virtual absl::Status AddOutput(absl::string_view file_name,
                                 absl::string_view media_type,
                                 absl::string_view contents,
                                 OutputKind kind) = 0;

  // Sets what the results depended on, one entry a variant.
  virtual absl::Status SetProvenance(
      absl::Span<const v1::Provenance> provenance) = 0;
};

// A kind of experiment. Stateless; shared by all jobs of the kind.
class JobKind {
 public:
  virtual ~JobKind() = default;

  // Checks a spec before the job is acknowledged. INVALID_ARGUMENT with file,
  // line and field, or NOT_FOUND for a model or adapter that does not exist.
  virtual absl::Status Validate(const v1::JobSpec& spec) = 0;

  // Runs or resumes a job; `spec` has its data also where the job names an
  // artifact instead. OK: SUCCEEDED. CANCELLED: CANCELLED, or QUEUED again
  // when the server, and not the user, stopped it. UNAVAILABLE: the worker was
  // lost, QUEUED again. Anything else: FAILED with the message.
  virtual absl::Status Run(const v1::JobSpec& spec, JobContext& job) = 0;

  // What a job keeps on the device while it runs; empty if unknown or nothing.
  // Must be quick.
  virtual DeviceMemory Memory(const v1::JobSpec& /*spec*/) { return {}; }
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_KIND_H_
