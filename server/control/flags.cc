#include "server/control/flags.h"

#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr int kUsageExit = 2;

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

}  // namespace

absl::StatusOr<std::variant<Config, int>> ConfigFromFlags(
    int argc, const char* const* argv) {
  Flags flags;
  CLI::App app("The server of Dissonance: jobs, records and the public API.",
               "dissonanced");
  app.set_version_flag("--version", DISSONANCE_VERSION);
  app.add_option("--config", flags.config,
                 "Configuration file, TOML (deploy/dissonanced.example.toml)");
  app.add_option("--data-dir", flags.data_dir,
                 "Database, artifacts, sockets, logs, owner's token");
  app.add_option("--listen", flags.listen,
                 "\"unix\" or HOST:PORT; may be given several times");
  app.add_option("--device", flags.device, "Of the worker: cpu or cuda:N");
  app.add_option("--threads", flags.threads, "Compute threads of the worker");
  app.add_option("--drain-seconds", flags.drain_seconds,
                 "Time that running work has after SIGTERM");
  app.add_option("--log-level", flags.log_level,
                 "debug, info, warning or error");
  app.add_flag("--upgrade-database", flags.upgrade_database,
               "Bring an older database up to date");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kUsageExit;
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
