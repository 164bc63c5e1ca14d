// A mixed load. Evaluations: every scoring, several subsets of questions, with
// and without MC-dropout, base alone and base with an adapter; in between
// probes and steering sweeps. All priorities; some are cancelled, some retried,
// some wait for another.
// The same for a count. Thread safe.
#ifndef DISSONANCE_TESTS_ENDURANCE_JOB_MIX_H_
#define DISSONANCE_TESTS_ENDURANCE_JOB_MIX_H_

#include <vector>

#include "dissonance/v1/jobs.pb.h"

namespace dissonance {

// What its client does with a job.
enum class Fate { kFinish, kCancel, kCancelAndRetry };

struct PlannedJob {
  v1::JobSpec spec;
  v1::JobPriority priority = v1::JOB_PRIORITY_NORMAL;
  Fate fate = Fate::kFinish;
  // Depends on the planned job before it, whose fate is kFinish.
  bool follows = false;
};

// `with_dependencies`: whether the server knows depends_on.
std::vector<PlannedJob> JobMix(int count, bool with_dependencies);

// An evaluation of `count` questions from the `first` on (around at the end).
v1::JobSpec QuestionsJob(int first, int count);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_JOB_MIX_H_
