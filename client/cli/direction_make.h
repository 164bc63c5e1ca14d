// dissonance direction make. Thread compatible.
#ifndef DISSONANCE_CLIENT_CLI_DIRECTION_MAKE_H_
#define DISSONANCE_CLIENT_CLI_DIRECTION_MAKE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/command.h"
#include "dissonance/v1/probes.pb.h"

namespace dissonance::cli {

// Adds the options.
CommandRun DefineDirectionMake(CLI::App& app);

// How rows are told apart: FIELD=ONE,ZERO, or FIELD=ONE where all other rows
// are class 0.
struct LabelChoice {
  std::string field;
  std::string one;
  std::string zero;  // empty: every other value
};
absl::StatusOr<LabelChoice> ParseLabelChoice(absl::string_view text);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_DIRECTION_MAKE_H_
