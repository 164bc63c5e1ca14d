// Requests of a steering sweep to the worker, and what comes back. Pure but for
// the calls; thread safe. Messages' prompts are those of an evaluation.
//
//   const v1::Variant steered = Steered(spec.variant(), plan, setting, norms);
#ifndef DISSONANCE_LAB_INTERP_STEERING_REQUESTS_H_
#define DISSONANCE_LAB_INTERP_STEERING_REQUESTS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dissonance/v1/common.pb.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/interp/interp_client.h"
#include "src/lab/interp/steering_plan.h"
#include "src/lab/interp/steering_record.h"

namespace dissonance {

// What all calls of a sweep share. Borrows.
struct SteeringCalls {
  InterpClient& compute;
  const v1::Variant& variant;
  const SteeringPlan& plan;
  const McqPromptFormat& format;
  const CallOptions& call;
};

// A coefficient on the scale of the activations.
double AbsoluteCoefficient(const SteeringPlan& plan,
                           const SteeringSetting& setting,
                           const SteeringNorms& norms);

// The variant with the setting's interventions behind its own: one, or one for
// each head that the vector tells apart.
v1::Variant Steered(const v1::Variant& variant, const SteeringPlan& plan,
                    const SteeringSetting& setting, const SteeringNorms& norms);

// Lengths of the unsteered rows at the questions' decision tokens;
// `questions_per_call` of them in a request. FAILED_PRECONDITION if the network
// changes between requests.
struct MeasuredNorms {
  SteeringNorms norms;
  v1::Provenance provenance;
};
absl::StatusOr<MeasuredNorms> MeasureNorms(const SteeringCalls& calls,
                                           int questions_per_call);

// Answers to all questions under each setting; `questions_per_call` of them in
// a request. OUT_OF_RANGE, naming setting and question, if one is not finite.
struct SteeringAnswers {
  std::vector<SteeringResult> results;
  v1::Provenance provenance;
};
absl::StatusOr<SteeringAnswers> AskAll(
    const SteeringCalls& calls, absl::Span<const SteeringSetting> settings,
    const SteeringNorms& norms, int questions_per_call);

// The questions continued greedily without and with steering, each token with
// how far it lies along the setting's direction.
struct SteeringSamples {
  std::vector<SteeringSample> samples;
  v1::Provenance provenance;
};
absl::StatusOr<SteeringSamples> Continue(const SteeringCalls& calls,
                                         absl::Span<const McqItem> items,
                                         const SteeringSetting& setting,
                                         const SteeringNorms& norms);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_STEERING_REQUESTS_H_
