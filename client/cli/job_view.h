// A job as people see it: words for lists, and all of it as a table. Thread
// safe.
#ifndef DISSONANCE_CLIENT_CLI_JOB_VIEW_H_
#define DISSONANCE_CLIENT_CLI_JOB_VIEW_H_

#include <string>

#include "client/cli/output.h"
#include "dissonance/v1/jobs.pb.h"

namespace dissonance::cli {

// "evaluate_mcq".
std::string KindOf(const v1::Job& job);

// "3/9 items"; "-" before there is any.
std::string ProgressOf(const v1::Job& job);

// What it is about: "option_text, m against a".
std::string SubjectOf(const v1::Job& job);

// Everything but its files' contents, a line each; what is unset has none.
Table DetailsOf(const v1::Job& job);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_JOB_VIEW_H_
