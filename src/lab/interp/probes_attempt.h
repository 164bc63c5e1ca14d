// One attempt at a train_probes job: what has no record yet, then the files.
// For one thread; borrows everything but the plan.
//
//   ProbesAttempt attempt(parts, spec, plan, places);
//   RETURN_IF_ERROR(attempt.Resume());
//   RETURN_IF_ERROR(attempt.AskQuestions());
//   RETURN_IF_ERROR(attempt.TrainRest());
//   RETURN_IF_ERROR(attempt.WriteFiles());
#ifndef DISSONANCE_LAB_INTERP_PROBES_ATTEMPT_H_
#define DISSONANCE_LAB_INTERP_PROBES_ATTEMPT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dissonance/internal/v1/interp_records.pb.h"
#include "dissonance/v1/probes.pb.h"
#include "src/lab/interp/interp_client.h"
#include "src/lab/interp/kept_networks.h"
#include "src/lab/interp/probe_files.h"
#include "src/lab/interp/probes_plan.h"
#include "src/lab/jobs/finished_jobs.h"
#include "src/lab/jobs/job_context.h"

namespace dissonance {

struct ProbesParts {
  InterpClient& compute;
  FinishedJobs& jobs;
  JobContext& job;
};

class ProbesAttempt {
 public:
  ProbesAttempt(const ProbesParts& parts, const v1::TrainProbesSpec& spec,
                ProbesPlan plan, std::vector<v1::SiteRef> places);

  // Reads what earlier attempts recorded. DATA_LOSS if it is not of this job.
  absl::Status Resume();
  // What the variants answer to the questions that have no record; then which
  // targets can be fitted is known. FAILED_PRECONDITION if none can.
  absl::Status AskQuestions();
  // The places that have no record, in the order of calls and places.
  absl::Status TrainRest();
  absl::Status WriteFiles();

 private:
  // What came of a place so far, and whether a call has it all.
  struct Incoming {
    std::vector<v1::ProbeFolds> folds;  // of the call, until recorded
    internal::v1::ProbesRecord current;
    bool has_current = false;
    std::map<std::string, internal::v1::ProbesRecord> complete;  // by place
  };

  int64_t total_count() const;
  size_t recorded_count() const { return answers_.size() + records_.size(); }
  absl::Status Record(absl::Span<const internal::v1::ProbesRecord> records);
  absl::Status AskBatch(size_t first, size_t count);
  void ChooseCalls();

  // Trains `call` at `places`, which sites and blocks give in full.
  absl::Status RunCall(int call, absl::Span<const v1::SiteRef> places);
  absl::StatusOr<v1::TrainProbesRequest> MakeRequest(
      int call, absl::Span<const v1::SiteRef> places);
  absl::Status AddActivations(int call, absl::Span<const v1::SiteRef> places,
                              v1::TrainProbesRequest& request);
  absl::Status Take(int call, const v1::TrainProbesResponse& message,
                    Incoming& incoming);
  absl::Status TakeResult(int call, const v1::ProbeResult& result,
                          Incoming& incoming);
  // Records the complete places that are next.
  absl::Status RecordComplete(int call, Incoming& incoming);
  absl::Status CheckSummary(int call, const v1::TrainProbesSummary& summary);

  const ProbesParts parts_;
  const v1::TrainProbesSpec& spec_;
  const ProbesPlan plan_;
  const std::vector<v1::SiteRef> places_;
  const CallOptions call_;
  KeptNetworks networks_;
  std::vector<v1::Input> inputs_;  // rendered
  ProbesOutcome outcome_;
  std::vector<ProbeCall> calls_;
  std::vector<internal::v1::ProbesRecord> answers_;  // by question
  std::vector<internal::v1::ProbesRecord> records_;  // by call, then place
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_PROBES_ATTEMPT_H_
