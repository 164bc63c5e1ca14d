// One attempt at a pipeline: begins stages whose inputs are there, follows
// their jobs, judges gates, writes the files. For one thread; borrows
// everything.
//
//   PipelineAttempt attempt({.jobs = jobs, .job = job, .release = "0.1.0"},
//                           spec, std::move(stages));
//   return attempt.Run();
#ifndef DISSONANCE_LAB_PIPELINE_PIPELINE_ATTEMPT_H_
#define DISSONANCE_LAB_PIPELINE_PIPELINE_ATTEMPT_H_

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/base/clock.h"
#include "src/lab/jobs/job_context.h"
#include "src/lab/pipeline/pipeline_plan.h"
#include "src/lab/pipeline/stage_jobs.h"
#include "src/lab/pipeline/stage_progress.h"
#include "src/lab/report/gate_verdict.h"
#include "src/lab/report/report.h"

namespace dissonance {

struct PipelineParts {
  StageJobs& jobs;
  JobContext& job;
  const std::string& release;
  const Clock& clock;
};

class PipelineAttempt {
 public:
  PipelineAttempt(const PipelineParts& parts, const v1::PipelineSpec& spec,
                  std::vector<PlannedStage> stages);

  // As Pipeline::Run.
  absl::Status Run();

 private:
  // A stage and its job, once it has one.
  struct Stage {
    PlannedStage plan;
    v1::Job job = {};  // without data
    std::string digest = {};
    std::string adapter = {};  // that it makes, with its digest
    // As the report shows it: jobs by their stages' names.
    v1::JobSpec shown_spec = {};
    bool is_begun = false;
    bool is_done = false;
    // It was being cancelled when it was found: queued again when it has been.
    bool may_retry = false;
    // After it was refused for now.
    absl::Duration wait = absl::ZeroDuration();
    absl::Duration not_before = -absl::InfiniteDuration();
    std::vector<GateVerdict> verdicts = {};
  };

  // What a stage is asked once its inputs are known.
  struct Asked {
    v1::JobSpec spec = {};
    v1::JobSpec shown = {};
    std::string digest = {};
    std::string source_jobs = {};  // names, where it reads jobs
  };

  absl::Status ReadRecords();
  // Until all have succeeded, one has failed or a gate has aborted.
  absl::Status RunStages();
  absl::Status BeginReady();
  absl::Status Begin(Stage& stage);
  absl::StatusOr<Asked> Ask(const Stage& stage);
  absl::Status FillInputs(const Stage& stage, Asked& asked,
                          v1::JobSpec& canonical);
  absl::StatusOr<std::string> DigestOf(const v1::JobSpec& spec,
                                       const v1::JobSpec& canonical);
  absl::StatusOr<v1::Job> MakeJob(const Asked& asked);
  absl::Status RetryJob(Stage& stage);
  // Looks after jobs under way.
  absl::Status Follow();
  // An event with how far the stages under way are, now and then.
  absl::Status TellProgress();
  absl::Status Finish(Stage& stage);
  // That the job computed with the networks that the pipeline began with.
  absl::Status CheckNetworks(const Stage& stage) const;
  absl::Status JudgeGates(Stage& stage);
  absl::Status CancelStages();
  absl::Status WriteStages();
  absl::Status WriteFiles();
  absl::StatusOr<ReportStage> ReportOf(const Stage& stage);

  bool IsReady(const Stage& stage) const;
  bool CanBegin(const Stage& stage) const;
  // What the report tells of: all that is done, or what an aborted gate rests
  // on.
  std::set<const Stage*> ToldStages() const;
  bool IsOver() const;
  std::vector<std::string> JobsUnderWay() const;
  Stage& Named(const std::string& name);

  const PipelineParts parts_;
  const v1::PipelineSpec& spec_;
  const std::string owner_;
  std::vector<Stage> stages_;
  std::map<std::string, std::string> recorded_;  // digest by stage
  std::map<std::string, std::string> networks_;  // digest by name
  std::string told_unit_ = kStagesUnit;
  absl::Duration next_tell_ = -absl::InfiniteDuration();
  std::string abort_reason_;
  std::string ended_by_;  // a gate or a stage, as the report says it
  const Stage* aborted_ = nullptr;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_PIPELINE_PIPELINE_ATTEMPT_H_
