// The JobContext of one attempt: what a kind records goes through here, and
// only while the attempt is the job's present one. A stale attempt (its job
// was put back, cancelled or started again) gets FAILED_PRECONDITION from
// every write and changes nothing. Used by one thread; borrows everything.
#ifndef DISSONANCE_LAB_JOBS_JOB_RECORDER_H_
#define DISSONANCE_LAB_JOBS_JOB_RECORDER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "src/base/clock.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/jobs/event_hub.h"
#include "src/lab/jobs/job_context.h"
#include "src/lab/jobs/usage_ledger.h"
#include "src/lab/storage/job_store.h"

namespace dissonance {

// An attempt at a job, while it runs.
struct Attempt {
  // As stored, RUNNING, with its number.
  const v1::Job& job;
  // Compute that was not charged yet.
  DeviceSpend& spend;
};

// What an attempt writes with. The ledger may be null.
struct RecordServices {
  JobStore& store;
  UsageLedger* ledger;
  const Clock& clock;
};

// One transaction on the attempt's job, which also charges its user for what
// was spent since the last. FAILED_PRECONDITION, and no change, if the attempt
// is not the job's present one.
absl::StatusOr<StoredJob> UpdateByAttempt(
    const RecordServices& services, const Attempt& attempt,
    absl::FunctionRef<absl::Status(JobChange&, absl::Time now)> edit);

class JobRecorder : public JobContext {
 public:
  struct Services {
    RecordServices record;
    ArtifactStore& artifacts;
    EventHub& hub;
  };

  // `stored` is RUNNING, with its full spec. The kind is to stop at its next
  // batch boundary once `stop_through` reaches the attempt's number.
  JobRecorder(const Services& services, StoredJob stored, DeviceSpend& spend,
              const std::atomic<int32_t>& stop_through);

  const v1::Job& job() const override { return job_; }
  bool cancelled() const override {
    return stop_through_ >= job_.attempt_count();
  }
  bool is_given_up() override;
  DeviceSpend& spend() override { return spend_; }
  absl::StatusOr<std::vector<std::string>> RecordedItems() override;
  absl::Status Record(const ItemBatch& batch) override;
  absl::Status Log(absl::string_view line) override;
  absl::Status AddOutput(absl::string_view file_name,
                         absl::string_view media_type,
                         absl::string_view contents, OutputKind kind) override;
  absl::StatusOr<std::unique_ptr<OutputWriter>> OpenOutput(
      absl::string_view file_name, absl::string_view media_type,
      OutputKind kind) override;
  absl::StatusOr<std::vector<v1::JobOutput>> Outputs() override;
  absl::Status ReadOutput(
      absl::string_view file_name,
      absl::FunctionRef<absl::Status(std::string piece)> take) override;
  absl::Status RemoveOutput(absl::string_view file_name) override;
  absl::Status SetProvenance(
      absl::Span<const v1::Provenance> provenance) override;

 private:
  class Writer;

  // Names an artifact among the job's outputs.
  absl::StatusOr<v1::JobOutput> Name(absl::string_view file_name,
                                     const v1::Artifact& artifact,
                                     OutputKind kind);
  // Lets go of an artifact that the job names no more: what a job removes, like
  // a checkpoint, is large, and the next garbage collection may be far.
  void GiveUpArtifact(const std::string& name);
  // One transaction on the job, if the attempt is not stale.
  absl::Status Change(absl::FunctionRef<absl::Status(JobChange&)> edit);

  const Services services_;
  const v1::Job job_;
  const std::string owner_;
  DeviceSpend& spend_;
  const std::atomic<int32_t>& stop_through_;
  const absl::Duration begin_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_RECORDER_H_
