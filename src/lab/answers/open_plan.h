// An evaluate_open spec that has been checked, with its defaults filled in.
// Values and pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(OpenPlan plan, MakeOpenPlan(spec));
#ifndef DISSONANCE_LAB_ANSWERS_OPEN_PLAN_H_
#define DISSONANCE_LAB_ANSWERS_OPEN_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/answers/open_questions.h"
#include "src/lab/interp/network_spec.h"

namespace dissonance {

struct OpenPlan {
  std::vector<OpenQuestion> questions;
  std::vector<v1::Variant> variants;  // of one model
  v1::OpenMode mode = v1::OPEN_MODE_NEUTRAL;
  int sample_count = 1;
  double temperature = 0;  // 0: greedy
  double top_p = 1;
  int max_new_tokens = 256;
  uint64_t seed = 42;

  bool greedy() const { return temperature == 0; }
};

// Names and checks the fields, as in "evaluate_open.top_p: ...".
const SpecFields& OpenFields();

// INVALID_ARGUMENT naming the field, or file, line and field of the questions.
absl::StatusOr<OpenPlan> MakeOpenPlan(const v1::JobSpec& spec);

// seed + 1000 * (question + 1) + sample, modulo 2^64; both from 0.
uint64_t OpenSeed(uint64_t seed, size_t question, int sample);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ANSWERS_OPEN_PLAN_H_
