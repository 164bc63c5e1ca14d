// What a kind of experiment may use while it runs: what it records goes through
// here, durably, and is there when the job is run again after a crash.
//
//   ASSIGN_OR_RETURN(auto file, job.OpenOutput("weights.safetensors",
//                                              "application/octet-stream",
//                                              OutputKind::kResult));
//   while (...) RETURN_IF_ERROR(file->Append(piece));
//   RETURN_IF_ERROR(file->Commit().status());
#ifndef DISSONANCE_LAB_JOBS_JOB_CONTEXT_H_
#define DISSONANCE_LAB_JOBS_JOB_CONTEXT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/jobs/device_meter.h"

namespace dissonance {

// What a job's file depends on.
enum class OutputKind {
  kResult,    // the spec and the networks: another run gives the same bytes
  kNamesRun,  // also the run itself, e.g. the job's name
};

// Items to be recorded, and what goes with them.
struct ItemBatch {
  int64_t first_index = 0;
  absl::Span<const std::string> items = {};
  // Of the progress: units in all, and what a unit is.
  int64_t total_count = 0;
  absl::string_view unit = {};
  // Points of the job's curves, one event each.
  absl::Span<const v1::MetricPoint> metrics = {};
};

// A file of a job's that comes in pieces. Without Commit nothing of it is seen
// or stays.
class OutputWriter {
 public:
  virtual ~OutputWriter() = default;

  // RESOURCE_EXHAUSTED, with path and bytes, on a full disk.
  virtual absl::Status Append(absl::string_view bytes) = 0;
  // Stores it durably and names it as AddOutput does. Call once, last.
  virtual absl::StatusOr<v1::JobOutput> Commit() = 0;
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

  // Once cancelled(): whether nothing more is wanted of the job, so that what
  // it could go on from need not be stored. Reads the record.
  virtual bool is_given_up() = 0;

  // Where compute calls add what they took.
  virtual DeviceSpend& spend() = 0;

  // All items recorded so far, by index from 0 without gaps, as stored.
  virtual absl::StatusOr<std::vector<std::string>> RecordedItems() = 0;

  // Durably appends items first_index, first_index + 1, ... and the metrics in
  // one transaction, and an event with the progress: done_count is first_index
  // + items.size(). FAILED_PRECONDITION if first_index is not the number of
  // recorded items, so nothing is ever recorded twice.
  virtual absl::Status Record(const ItemBatch& batch) = 0;
  absl::Status RecordItems(int64_t first_index,
                           absl::Span<const std::string> items,
                           int64_t total_count, absl::string_view unit) {
    return Record({.first_index = first_index,
                   .items = items,
                   .total_count = total_count,
                   .unit = unit});
  }

  // Adds a line for people to the job's events.
  virtual absl::Status Log(absl::string_view line) = 0;

  // Stores a file as an artifact and names it among the job's outputs, in
  // place of an earlier one of the same name. Names are plain, with one folder
  // at most: "report.json", "checkpoint-00050/state.safetensors".
  virtual absl::Status AddOutput(absl::string_view file_name,
                                 absl::string_view media_type,
                                 absl::string_view contents,
                                 OutputKind kind) = 0;
  // The same for contents that come in pieces.
  virtual absl::StatusOr<std::unique_ptr<OutputWriter>> OpenOutput(
      absl::string_view file_name, absl::string_view media_type,
      OutputKind kind) = 0;
  // All outputs as of now, by name.
  virtual absl::StatusOr<std::vector<v1::JobOutput>> Outputs() = 0;
  // Reads an output from its beginning, in pieces of up to 1 MiB, until `take`
  // fails. NOT_FOUND; DATA_LOSS if its bytes are not those that were stored,
  // before any is given.
  virtual absl::Status ReadOutput(
      absl::string_view file_name,
      absl::FunctionRef<absl::Status(std::string piece)> take) = 0;
  // No longer names it; its bytes go too, unless something else of the owner's
  // names them or he pinned them. OK if there is none.
  virtual absl::Status RemoveOutput(absl::string_view file_name) = 0;

  // Sets what the results depended on, one entry a variant.
  virtual absl::Status SetProvenance(
      absl::Span<const v1::Provenance> provenance) = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_CONTEXT_H_
