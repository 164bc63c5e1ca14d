// The steps of `dissonance eval mcq`: what the options ask for, creating the
// jobs, following them, fetching their files. Not thread safe.
#ifndef DISSONANCE_CLIENT_CLI_EVAL_MCQ_H_
#define DISSONANCE_CLIENT_CLI_EVAL_MCQ_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/variant_options.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/eval/mcq_data.h"

namespace dissonance::cli {

struct EvalMcqArgs {
  VariantOptions network;
  // Base, adapter and what the interventions make of it, as far as given.
  std::vector<NamedVariant> variants;
  std::string data;
  std::string out;
  std::vector<v1::McqScoring> scorings;  // one job each; empty: the default
  int dropout_samples = 0;
  uint64_t seed = 0;
  std::string request_id;
  std::vector<std::string> after;  // jobs that have to succeed first
  v1::JobPriority priority = v1::JOB_PRIORITY_UNSPECIFIED;  // not given
  bool upload = false;
  bool detach = false;
  bool dry_run = false;
};

// The questions as sent and as parsed.
struct McqQuestions {
  std::string bytes;
  std::vector<McqItem> items;
  // Where the server keeps the bytes; empty: they go with each job.
  std::string artifact;
};

// The whole command.
absl::Status EvalMcq(const Session& session, const EvalMcqArgs& args);

// What a run would take: tokens, time measured on a few questions, memory.
absl::Status EstimateMcq(const Session& session, const EvalMcqArgs& args,
                         const McqQuestions& questions);

// The spec of the job for one answer format.
v1::EvaluateMcqSpec McqSpec(const EvalMcqArgs& args,
                            const McqQuestions& questions,
                            v1::McqScoring scoring);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_EVAL_MCQ_H_
