#include "server/control/flags.h"

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr int kUsageExit = 2;

constexpr char kConfigHelp[] =
    "Configuration file, TOML (deploy/dissonanced.example.toml)";
constexpr char kDataDirHelp[] =
    "Database, artifacts, sockets, logs, owner's token";

// Set on top of the file; unset ones leave it as it is.
struct Flags {
  std::string config;
  std::string data_dir;
  std::vector<std::string> listen;
  std::string device;
  int64_t threads = 0;
  double drain_seconds = 0;
  std::string log_level;
  bool upgrade_database = false;
  // Of subcommands.
  std::string from;
  bool quick = false;
  bool repair = false;
};

void Override(const CLI::App& app, const Flags& flags, Config& config) {
  const auto is_set = [&app](const char* name) { return app.count(name) > 0; };
  if (is_set("--data-dir")) config.data_dir = flags.data_dir;
  if (is_set("--listen")) config.listen = flags.listen;
  if (is_set("--device")) config.worker.device = flags.device;
  if (is_set("--threads")) config.worker.threads = flags.threads;
  if (is_set("--drain-seconds")) config.drain_seconds = flags.drain_seconds;
  if (is_set("--log-level")) config.log_level = flags.log_level;
  if (flags.upgrade_database) config.upgrade_database = true;
}

void AddServerFlags(CLI::App& app, Flags& flags) {
  app.set_version_flag("--version", DISSONANCE_VERSION);
  app.add_option("--config", flags.config, kConfigHelp);
  app.add_option("--data-dir", flags.data_dir, kDataDirHelp);
  app.add_option("--listen", flags.listen,
                 "\"unix\" or HOST:PORT; may be given several times");
  app.add_option("--device", flags.device, "Of the worker: cpu or cuda:N");
  app.add_option("--threads", flags.threads, "Compute threads of the worker");
  app.add_option("--drain-seconds", flags.drain_seconds,
                 "Time that running work has after SIGTERM");
  app.add_option("--log-level", flags.log_level,
                 "debug, info, warning or error");
  app.add_flag("--upgrade-database", flags.upgrade_database,
               "Bring an older database up to date, after copying it");
}

CLI::App* AddSubcommand(CLI::App& app, Flags& flags, const char* name,
                        const char* help) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_option("--config", flags.config, kConfigHelp);
  command->add_option("--data-dir", flags.data_dir, kDataDirHelp);
  return command;
}

void AddSubcommands(CLI::App& app, Flags& flags) {
  app.require_subcommand(0, 1);
  CLI::App* check = AddSubcommand(
      app, flags, "check",
      "Check records and artifacts of a data directory that no server uses; "
      "exits 1 where something is wrong");
  check->add_flag("--quick", flags.quick, "Leave out what reads every byte");
  check->add_flag("--repair", flags.repair,
                  "Remove files that no record names and temporary files");
  CLI::App* restore = AddSubcommand(app, flags, "restore",
                                    "Make a new data directory of a backup");
  restore->add_option("--from", flags.from, "Folder of the backup")->required();
  restore->get_option("--data-dir")->required();
  AddSubcommand(app, flags, "owner-token",
                "Write a new owner's token, where the old one was lost");
}

absl::StatusOr<Maintenance> ResolveMaintenance(const std::string& name,
                                               const Flags& flags) {
  Config config;
  if (!flags.config.empty()) {
    ASSIGN_OR_RETURN(config, ReadConfigFile(flags.config));
  }
  Maintenance maintenance;
  maintenance.kind = name == "check"     ? Maintenance::Kind::kCheck
                     : name == "restore" ? Maintenance::Kind::kRestore
                                         : Maintenance::Kind::kOwnerToken;
  ASSIGN_OR_RETURN(maintenance.data_dir,
                   ResolveDataDir(flags.data_dir.empty() ? config.data_dir
                                                         : flags.data_dir));
  if (!flags.from.empty()) {
    std::error_code ignored;
    maintenance.from = std::filesystem::absolute(flags.from, ignored);
  }
  maintenance.quick = flags.quick;
  maintenance.repair = flags.repair;
  return maintenance;
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(int argc,
                                             const char* const* argv) {
  Flags flags;
  CLI::App app("The server of Dissonance: jobs, records and the public API.",
               "dissonanced");
  AddServerFlags(app, flags);
  AddSubcommands(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kUsageExit;
  }
  if (const auto chosen = app.get_subcommands(); !chosen.empty()) {
    return ResolveMaintenance(chosen.front()->get_name(), flags);
  }
  Config config;
  if (!flags.config.empty()) {
    ASSIGN_OR_RETURN(config, ReadConfigFile(flags.config));
  }
  Override(app, flags, config);
  ASSIGN_OR_RETURN(config, ResolveConfig(std::move(config)));
  return config;
}

}  // namespace dissonance
