// What a command is: a place in the command line, the options it takes, and
// what it does. Each noun's file gives a list of them; app.cc puts the lists
// together. Thread compatible.
//
//   CommandRun DefineShow(CLI::App& app) {
//     auto name = std::make_shared<std::string>();
//     app.add_option("MODEL", *name, "Model to show")->required();
//     return [name](const Session& session) { return Show(session, *name); };
//   }
//   std::vector<Command> ModelsCommands() {
//     return {{"models", "show", "Show one model", DefineShow}, ...};
//   }
#ifndef DISSONANCE_CLIENT_CLI_COMMAND_H_
#define DISSONANCE_CLIENT_CLI_COMMAND_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cli/output.h"
#include "client/cli/settings.h"

namespace CLI {
class App;
}  // namespace CLI

namespace dissonance::cli {

// What a command runs with, once the command line is parsed.
struct Session {
  Settings settings;
  // As asked for, else a table.
  OutputFormat output = OutputFormat::kTable;
  bool output_given = false;
};

// Runs a command whose options were parsed. Results go to stdout, anything
// else to stderr; the error, if any, is printed by the caller.
using CommandRun = std::function<absl::Status(const Session&)>;

struct Command {
  // One word or several: "models", "admin user".
  std::string noun;
  // Empty: the noun is the command, to which later ones may add verbs.
  std::string verb;
  std::string summary;
  // Adds the options to `app` and returns what to run after parsing. The
  // options' values live in the returned function.
  CommandRun (*define)(CLI::App& app);
};

std::vector<Command> ServerCommands();
std::vector<Command> ModelsCommands();
std::vector<Command> AdaptersCommands();
std::vector<Command> TextCommands();
std::vector<Command> ScoreCommands();
std::vector<Command> GenerateCommands();
std::vector<Command> ActivationsCommands();
std::vector<Command> LensCommands();
std::vector<Command> CompareCommands();
std::vector<Command> PatchCommands();
std::vector<Command> ProbeCommands();
std::vector<Command> SteerCommands();
std::vector<Command> DirectionCommands();
std::vector<Command> EvalCommands();
std::vector<Command> DocsCommands();
std::vector<Command> FinetuneCommands();
std::vector<Command> PipelineCommands();
std::vector<Command> JobsCommands();
std::vector<Command> ReplayCommands();
std::vector<Command> ReportCommands();
std::vector<Command> ArtifactsCommands();
std::vector<Command> AdminCommands();
std::vector<Command> UserCommands();
std::vector<Command> TokenCommands();

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_COMMAND_H_
