// The criteria that a pipeline's stages are held against, judged on the files
// of their jobs. Pure functions; thread safe.
//
//   pass, unless          warn where in between          abort
//   documents             100 valid, error share < 0.1    error share > 0.5
//   behaviour             adapter's false-belief rate > 0.6, base's < 0.4,
//                         gap > 0.2                       gap < 0.1
//   internal_signal       AUC > 0.7 at some place         all < 0.6
//   signal_against_noise  AUC - dummy AUC > 0.2, and > 0.65 for
//                         conflict_vs_hard                difference < 0.1
//   both warn at most where the best probe is LEAK?
//   causal                some steering returns half of the false answers,
//                         beyond random directions, controls hold    never
//
//   ASSIGN_OR_RETURN(GateVerdict verdict,
//                    JudgeGate(gate, spec.kind_case(), "mcq", read));
#ifndef DISSONANCE_LAB_PIPELINE_GATES_H_
#define DISSONANCE_LAB_PIPELINE_GATES_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.pb.h"
#include "nlohmann/json.hpp"
#include "src/lab/report/gate_verdict.h"

namespace dissonance {

// "behaviour"; "pass".
std::string GateName(v1::Gate gate);
std::string GateStatusName(GateStatus status);

// Whether results of the kind can be held against the gate.
bool GateFits(v1::Gate gate, v1::JobSpec::KindCase kind);

// For messages: what the gate judges, "generate_documents, fine_tune", and
// which gates judge the kind, "behaviour"; empty if none does.
std::string KindsOfGate(v1::Gate gate);
std::string GatesOfKind(v1::JobSpec::KindCase kind);

// Reads a file of the stage's job as JSON.
using StageFile =
    absl::FunctionRef<absl::StatusOr<nlohmann::json>(absl::string_view name)>;

// REQUIRES: GateFits. DATA_LOSS for a file that lacks what decides.
absl::StatusOr<GateVerdict> JudgeGate(v1::Gate gate, v1::JobSpec::KindCase kind,
                                      const std::string& stage, StageFile read);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_PIPELINE_GATES_H_
