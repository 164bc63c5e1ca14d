#include "client/cli/app.h"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/completion.h"
#include "client/cli/errors.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

// Every noun of the command line, in the order of its help.
struct Noun {
  const char* name;
  const char* summary;
};
constexpr Noun kNouns[] = {
    {"server", "Start, stop and look at the server on this machine"},
    {"models", "Base models: load, list, show, unload, check"},
    {"adapters", "LoRA adapters of a model"},
    {"chat", "Conversations and chat templates"},
    {"direction", "Directions in activation space"},
    {"probe", "Linear probes of what activations tell apart"},
    {"steer", "Steering along directions"},
    {"eval", "Experiments on what a model answers"},
    {"docs", "Synthetic documents: generate, import, export"},
    {"pipeline", "All of an experiment, from documents to the report"},
    {"jobs", "Recorded experiments: list, show, watch, pause, cancel"},
    {"artifacts", "Files that experiments produced or take"},
    {"admin", "Users, tokens, quotas and the server's upkeep"},
    {"admin user", "Who may use the server"},
    {"admin token", "Access tokens of users"},
};

using CommandList = std::vector<Command> (*)();
constexpr CommandList kCommands[] = {
    ServerCommands,    ModelsCommands,   AdaptersCommands,    TextCommands,
    ScoreCommands,     GenerateCommands, ActivationsCommands, LensCommands,
    CompareCommands,   PatchCommands,    ProbeCommands,       SteerCommands,
    DirectionCommands, EvalCommands,     DocsCommands,        FinetuneCommands,
    PipelineCommands,  JobsCommands,     ReplayCommands,      ReportCommands,
    ArtifactsCommands, UserCommands,     TokenCommands,       AdminCommands,
};

// A command of the parsed command line.
struct Entry {
  CLI::App* app;
  CommandRun run;
};

void AddGlobalOptions(CLI::App& app, GlobalOptions& options) {
  app.add_option("--server", options.server,
                 "Server's address: unix:/PATH or HOST:PORT (or "
                 "DISSONANCE_SERVER; default: the data directory's socket)");
  app.add_option("--data-dir", options.data_dir,
                 "Data directory of the server on this machine (or "
                 "DISSONANCE_DATA_DIR; default: ~/.local/share/dissonance, as "
                 "XDG_DATA_HOME says)");
  app.add_option("--token-file", options.token_file,
                 "File with the token (or the token in DISSONANCE_TOKEN; "
                 "default: owner.token in the data directory)");
  app.add_option("--profile", options.profile,
                 "Table of ~/.config/dissonance/config.toml to use (or "
                 "DISSONANCE_PROFILE)");
  AddChoice<OutputFormat>(app, "-o,--output", "FORMAT", options.output,
                          {{"table", OutputFormat::kTable},
                           {"json", OutputFormat::kJson},
                           {"jsonl", OutputFormat::kJsonLines}},
                          "table, json or jsonl");
}

// The place of a noun, which may be of several words: "admin user".
CLI::App* NounAt(CLI::App& root, const std::string& name,
                 std::map<std::string, CLI::App*>& nouns) {
  if (name.empty()) return &root;
  CLI::App*& app = nouns[name];
  if (app != nullptr) return app;
  std::string summary;
  for (const Noun& noun : kNouns) {
    if (name == noun.name) summary = noun.summary;
  }
  const size_t space = name.rfind(' ');
  const bool nested = space != std::string::npos;
  CLI::App* parent = NounAt(root, nested ? name.substr(0, space) : "", nouns);
  app = parent->add_subcommand(nested ? name.substr(space + 1) : name, summary)
            ->require_subcommand(1);
  return app;
}

void RequireNothing(CLI::App& app) {
  app.require_option(0);
  for (CLI::Option* option : app.get_options()) option->required(false);
}

// A command that is a noun of its own does not miss its options where one of
// its verbs is named instead.
void FreeOfOptions(CLI::App& noun, CLI::App& verb) {
  verb.preparse_callback([&noun](size_t /*words*/) {
    RequireNothing(noun);
    // Groups of options are apps without a name.
    for (CLI::App* group : noun.get_subcommands(
             [](const CLI::App* app) { return app->get_name().empty(); })) {
      RequireNothing(*group);
    }
  });
}

std::vector<Entry> AddCommands(CLI::App& root) {
  std::map<std::string, CLI::App*> nouns;
  std::vector<Entry> entries;
  for (const CommandList list : kCommands) {
    for (const Command& command : list()) {
      CLI::App* parent =
          NounAt(root, command.verb.empty() ? "" : command.noun, nouns);
      CLI::App* app = parent->add_subcommand(
          command.verb.empty() ? command.noun : command.verb, command.summary);
      if (command.verb.empty()) nouns[command.noun] = app;
      // Options are asked for unless it is a noun alone.
      if (!command.verb.empty() && parent->get_require_subcommand_min() == 0) {
        FreeOfOptions(*parent, *app);
      }
      entries.push_back({app, command.define(*app)});
    }
  }
  return entries;
}

void AddCompletion(CLI::App& root, std::vector<Entry>& entries) {
  CLI::App* app =
      root.add_subcommand("completion", "Print a shell's completion script");
  auto shell = std::make_shared<Shell>();
  AddChoice<Shell>(
      *app, "SHELL", "", *shell,
      {{"bash", Shell::kBash}, {"zsh", Shell::kZsh}, {"fish", Shell::kFish}},
      "bash, zsh or fish")
      ->required();
  entries.push_back({app, [&root, shell](const Session&) {
                       std::cout << CompletionScript(root, *shell);
                       return absl::OkStatus();
                     }});
}

// The commands that were named, from the root to the innermost.
std::vector<const CLI::App*> NamedCommands(const CLI::App& root) {
  std::vector<const CLI::App*> named = {&root};
  while (!named.back()->get_subcommands().empty()) {
    named.push_back(named.back()->get_subcommands().front());
  }
  return named;
}

// What is wrong with the command line, and whose help to read.
std::string UsageMessage(const CLI::ParseError& error, const CLI::App& root) {
  std::string path;
  for (const CLI::App* app : NamedCommands(root)) {
    if (app->get_name().empty()) continue;
    absl::StrAppend(&path, path.empty() ? "" : " ", app->get_name());
  }
  // The library says only that a command is missing, not that one is unknown.
  const CLI::App& last = *NamedCommands(root).back();
  const std::vector<std::string> unknown = root.remaining(/*recurse=*/true);
  std::string what = error.what();
  if (last.get_require_subcommand_min() > 0 && !unknown.empty()) {
    std::vector<std::string> names;
    for (const CLI::App* app : last.get_subcommands(
             [](const CLI::App* app) { return !app->get_name().empty(); })) {
      names.push_back(app->get_name());
    }
    what = absl::StrCat("there is no command '", path, " ", unknown.front(),
                        "'; choose from ", absl::StrJoin(names, ", "));
  } else if (last.get_require_subcommand_min() > 0) {
    what = absl::StrCat("'", path, "' needs a command");
  }
  return absl::StrCat("error: ", what, "\n  see '", path, " --help'\n");
}

absl::Status RunParsed(const std::vector<Entry>& entries,
                       const GlobalOptions& options) {
  for (const Entry& entry : entries) {
    // Its verb runs, if one was named.
    if (!entry.app->parsed() || !entry.app->get_subcommands().empty()) continue;
    Session session;
    session.output = options.output.value_or(OutputFormat::kTable);
    session.output_given = options.output.has_value();
    // Completion works without a home, a profile or a server.
    if (entry.app->get_name() != "completion") {
      ASSIGN_OR_RETURN(session.settings, ResolveSettings(options));
    }
    return entry.run(session);
  }
  return UsageError("no command was given");
}

// Output that did not reach its reader is a failure, not a success.
absl::Status FlushOutput() {
  std::cout.flush();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout) {
    return absl::DataLossError(
        "cannot write all of the output; is the disk full?");
  }
  return absl::OkStatus();
}

}  // namespace

int RunCli(int argc, char** argv) {
  // gRPC's own lines would mix with ours; its errors are in our messages.
  ::setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  CLI::App root("Experiments on language models' beliefs, on a shared server",
                "dissonance");
  root.fallthrough();
  root.require_subcommand(1);
  root.set_version_flag("--version", "dissonance " DISSONANCE_VERSION);
  root.footer(
      "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 not "
      "authenticated, 5 cancelled or detached, 6 a pipeline's gate aborted.");
  GlobalOptions options;
  AddGlobalOptions(root, options);
  std::vector<Entry> entries = AddCommands(root);
  AddCompletion(root, entries);
  try {
    root.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      return root.exit(e);
    }
    std::cerr << UsageMessage(e, root);
    return kExitUsage;
  }
  absl::Status status = RunParsed(entries, options);
  if (status.ok()) status = FlushOutput();
  if (!status.ok()) {
    std::fflush(stdout);
    std::cerr << RenderError(status);
  }
  return ExitCodeOf(status);
}

}  // namespace dissonance::cli
