// The kinds of jobs that this server runs. Thread safe; borrows what it is made
// with. A new kind is a member and a row of kinds().
//
//   Experiments experiments({.compute = compute, ...});
//   JobManager::Create({.kinds = experiments.kinds(), ...});
#ifndef DISSONANCE_SERVER_CONTROL_EXPERIMENTS_H_
#define DISSONANCE_SERVER_CONTROL_EXPERIMENTS_H_

#include <map>
#include <string>

#include "dissonance/v1/jobs.pb.h"
#include "src/base/clock.h"
#include "src/lab/answers/evaluate_open.h"
#include "src/lab/docgen/generate_documents.h"
#include "src/lab/eval/evaluate_mcq.h"
#include "src/lab/finetune/fine_tune.h"
#include "src/lab/hosted/hosted_mcq.h"
#include "src/lab/interp/extract_activations.h"
#include "src/lab/interp/fit_directions.h"
#include "src/lab/interp/interp_client.h"
#include "src/lab/interp/logit_lens.h"
#include "src/lab/interp/patch_sweep.h"
#include "src/lab/interp/steering_sweep.h"
#include "src/lab/interp/train_probes.h"
#include "src/lab/jobs/finished_jobs.h"
#include "src/lab/jobs/job_kind.h"
#include "src/lab/judge/judge.h"
#include "src/lab/llm/chat_endpoints.h"
#include "src/lab/pipeline/pipeline.h"

namespace dissonance {

class Experiments {
 public:
  struct Options {
    InterpClient& compute;
    TrainingClient& training;
    AdapterRegistrar& registrar;
    FinishedJobs& finished_jobs;
    ChatEndpoints& endpoints;
    StageJobs& stage_jobs;
    std::string release;
    int mcq_questions_per_batch = 8;
  };

  explicit Experiments(const Options& options)
      : evaluate_mcq_(options.compute,
                      {.questions_per_batch = options.mcq_questions_per_batch}),
        mcq_(options.endpoints, evaluate_mcq_),
        fine_tune_({.compute = options.compute,
                    .training = options.training,
                    .registrar = options.registrar,
                    .clock = Clock::Real()}),
        extract_activations_(options.compute),
        train_probes_(options.compute, options.finished_jobs),
        logit_lens_(options.compute),
        patch_sweep_(options.compute),
        steering_sweep_(options.compute),
        generate_documents_(options.endpoints),
        evaluate_open_(options.compute),
        judge_(options.endpoints, options.finished_jobs),
        fit_directions_(options.compute),
        pipeline_(options.stage_jobs, options.release) {}

  std::map<v1::JobSpec::KindCase, JobKind*> kinds() {
    return {{v1::JobSpec::kEvaluateMcq, &mcq_},
            {v1::JobSpec::kFineTune, &fine_tune_},
            {v1::JobSpec::kExtractActivations, &extract_activations_},
            {v1::JobSpec::kTrainProbes, &train_probes_},
            {v1::JobSpec::kLogitLens, &logit_lens_},
            {v1::JobSpec::kPatchSweep, &patch_sweep_},
            {v1::JobSpec::kSteeringSweep, &steering_sweep_},
            {v1::JobSpec::kGenerateDocuments, &generate_documents_},
            {v1::JobSpec::kEvaluateOpen, &evaluate_open_},
            {v1::JobSpec::kJudge, &judge_},
            {v1::JobSpec::kFitDirections, &fit_directions_},
            {v1::JobSpec::kPipeline, &pipeline_}};
  }

 private:
  EvaluateMcq evaluate_mcq_;
  HostedMcq mcq_;
  FineTune fine_tune_;
  ExtractActivations extract_activations_;
  TrainProbes train_probes_;
  LogitLens logit_lens_;
  PatchSweep patch_sweep_;
  SteeringSweep steering_sweep_;
  GenerateDocuments generate_documents_;
  EvaluateOpen evaluate_open_;
  Judge judge_;
  FitDirections fit_directions_;
  Pipeline pipeline_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_EXPERIMENTS_H_
