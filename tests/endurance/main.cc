// dissonance-endurance: what holds under load. Prints a table and JSON; exits 1
// if a promise was broken.
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "tests/endurance/fairness.h"
#include "tests/endurance/report.h"
#include "tests/endurance/soak.h"
#include "tests/endurance/soak_calls.h"
#include "tests/endurance/storm.h"

namespace dissonance {
namespace {

// Adds `--NAME NUMBER`, at least `least`.
template <typename Number>
void AddNumber(CLI::App& command, const std::string& name, Number& value,
               Number least, const std::string& what) {
  command.add_option("--" + name, value, what)
      ->check(CLI::Range(least, static_cast<Number>(100'000'000)))
      ->capture_default_str();
}

void AddStorm(CLI::App& command, StormOptions& options) {
  AddNumber(command, "kills", options.kill_count, 1, "Kills");
  AddNumber(command, "jobs", options.job_count, 1, "Different jobs");
  AddNumber(command, "clients", options.client_count, 1, "Client threads");
  AddNumber(command, "callers", options.caller_count, 0,
            "Threads that compute and change adapters meanwhile");
  AddNumber(command, "seed", options.seed, uint64_t{0},
            "Seed of victims and moments");
  command.add_flag("--dependencies,!--no-dependencies",
                   options.with_dependencies,
                   "Some jobs wait for others (default), or none do");
}

void AddSoak(CLI::App& command, SoakOptions& options) {
  AddNumber(command, "minutes", options.minutes, 0.1, "Length");
  AddNumber(command, "clients", options.client_count, 1, "Client threads");
  AddNumber(command, "seed", options.seed, uint64_t{0}, "Seed of the calls");
  AddNumber(command, "rounds", options.round_count, 0,
            "Each kind of call so often by each client, instead of --minutes");
  std::vector<std::string> kinds;
  for (const CallKind& kind : CallKinds()) kinds.push_back(kind.name);
  command
      .add_option("--only", options.only,
                  "Only calls of this kind; may be given again")
      ->check(CLI::IsMember(kinds));
  command.add_flag("--users,!--owner", options.own_users,
                   "Each client is a user of its own (default), or all are "
                   "the owner");
}

void AddFairness(CLI::App& command, FairnessOptions& options) {
  AddNumber(command, "queued", options.queued_count, 1,
            "Jobs of the first user");
  AddNumber(command, "history", options.history_count, 2,
            "Jobs in the database before");
  AddNumber(command, "calls", options.call_count, 0,
            "Calls timed of each kind");
  command.add_flag("--lists-only", options.lists_only,
                   "Only the times of calls, as the owner");
  command.add_flag("!--no-limits", options.judge_times,
                   "Times are shown and not judged");
}

int Conclude(const absl::StatusOr<Report>& report, const std::string& out_dir) {
  const absl::Status status =
      report.ok() ? report->Publish(out_dir) : report.status();
  if (!status.ok()) std::cerr << status << std::endl;
  return status.ok() && report->violations.empty() ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("Long runs that show what holds under load");
  app.require_subcommand(1);
  std::function<absl::StatusOr<Report>()> run;
  StormOptions storm;
  AddStorm(*app.add_subcommand("storm", "Jobs while processes are killed")
                ->callback([&] { run = [&] { return RunStorm(storm); }; }),
           storm);
  SoakOptions soak;
  AddSoak(*app.add_subcommand("soak", "A mixed load, and what grows under it")
               ->callback([&] { run = [&] { return RunSoak(soak); }; }),
          soak);
  FairnessOptions fairness;
  AddFairness(
      *app.add_subcommand("fairness", "One user's many jobs beside another's")
           ->callback([&] { run = [&] { return RunFairness(fairness); }; }),
      fairness);
  std::string out_dir;
  for (CLI::App* const command : app.get_subcommands({})) {
    command->add_option("--out", out_dir,
                        "Folder for the table and the figures as JSON");
  }
  CLI11_PARSE(app, argc, argv);
  return Conclude(run(), out_dir);
}

}  // namespace
}  // namespace dissonance

int main(int argc, char** argv) { return dissonance::Main(argc, argv); }
