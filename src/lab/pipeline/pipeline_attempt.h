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
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/jobs/job_context.h"
#include "src/lab/pipeline/pipeline_plan.h"
#include "src/lab/pipeline/stage_jobs.h"
#include "src/lab/report/gate_verdict.h"
#include "src/lab/report/report.h"

namespace dissonance {

struct PipelineParts {
  StageJobs& jobs;
  JobContext& job;
  const std::string& release;
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
    std::vector<GateVerdict> verdicts = {};
  };

  // What a stage is asked once its inputs are known.
  struct Asked {
    v1::JobSpec spec = {};
    v1::JobSpec shown = {};
    std::string digest = {};
  };

  absl::Status ReadRecords();
  absl::Status BeginReady();
  absl::Status Begin(Stage& stage);
  absl::StatusOr<Asked> Ask(const Stage& stage);
  absl::Status FillInputs(const Stage& stage, Asked& asked,
                          v1::JobSpec& canonical);
  absl::StatusOr<std::string> DigestOf(const v1::JobSpec& canonical);
  // Looks after jobs under way.
  absl::Status Follow();
  absl::Status Finish(Stage& stage);
  absl::Status JudgeGates(Stage& stage);
  absl::Status CancelStages();
  absl::Status WriteStages();
  absl::Status WriteFiles();
  absl::StatusOr<ReportStage> ReportOf(const Stage& stage);

  bool IsReady(const Stage& stage) const;
  bool IsOver() const;
  std::vector<std::string> JobsUnderWay() const;
  Stage& Named(const std::string& name);

  const PipelineParts parts_;
  const v1::PipelineSpec& spec_;
  const std::string owner_;
  std::vector<Stage> stages_;
  std::map<std::string, std::string> recorded_;  // digest by stage
  std::set<std::string> told_;                   // that they have to wait
  std::string abort_reason_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_PIPELINE_PIPELINE_ATTEMPT_H_
