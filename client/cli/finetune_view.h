// What a training came to, and what one would take, for people. Pure functions;
// thread safe.
#ifndef DISSONANCE_CLIENT_CLI_FINETUNE_VIEW_H_
#define DISSONANCE_CLIENT_CLI_FINETUNE_VIEW_H_

#include <string>

#include "client/cli/output.h"
#include "client/cli/training_curves.h"
#include "dissonance/v1/jobs.pb.h"
#include "dissonance/v1/models.pb.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// Loss, belief, time, and the adapter that a job made, a line each; what is not
// known has none.
Table OutcomeOf(const v1::Job& job, const TrainingCurves& curves,
                const v1::Adapter& adapter);

// The same for programs.
nlohmann::json OutcomeJson(const v1::Job& job, const TrainingCurves& curves,
                           const v1::Adapter& adapter);

// The two commands that use an adapter, with the questions asked in between if
// there were any.
std::string UsesOf(const v1::FineTuneSpec& spec,
                   const std::string& evaluation_data);

// From plan.json of a dry run.
Table PlanOf(const nlohmann::json& plan);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_FINETUNE_VIEW_H_
