// dissonance-endurance: what holds under load. Prints a table and JSON; exits 1
// if a promise was broken.
#include <iostream>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "tests/endurance/fairness.h"
#include "tests/endurance/report.h"
#include "tests/endurance/soak.h"
#include "tests/endurance/storm.h"

namespace dissonance {
namespace {

int Conclude(const absl::StatusOr<Report>& report, const std::string& out_dir) {
  if (!report.ok()) {
    std::cerr << report.status() << std::endl;
    return 1;
  }
  const absl::Status published = report->Publish(out_dir);
  if (!published.ok()) {
    std::cerr << published << std::endl;
    return 1;
  }
  return report->violations.empty() ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("Long runs that show what holds under load");
  app.require_subcommand(1);
  std::string out_dir;

  StormOptions storm;
  CLI::App* const storm_command =
      app.add_subcommand("storm", "Jobs while processes are killed at random");
  storm_command->add_option("--kills", storm.kill_count, "Kills")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  storm_command->add_option("--jobs", storm.job_count, "Different jobs")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  storm_command->add_option("--clients", storm.client_count, "Client threads")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  storm_command->add_option("--seed", storm.seed, "Seed of victims and moments")
      ->capture_default_str();
  storm_command->add_flag("--dependencies", storm.with_dependencies,
                          "Some jobs wait for others");

  SoakOptions soak;
  CLI::App* const soak_command = app.add_subcommand(
      "soak", "A mixed load for long, and whether the server stays flat");
  soak_command->add_option("--minutes", soak.minutes, "Length")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  soak_command->add_option("--clients", soak.client_count, "Client threads")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  soak_command->add_option("--seed", soak.seed, "Seed of the calls")
      ->capture_default_str();
  soak_command->add_option(
      "--rounds", soak.round_count,
      "Instead of --minutes: each kind of call so often by each client");

  FairnessOptions fairness;
  CLI::App* const fairness_command = app.add_subcommand(
      "fairness", "One user's many jobs beside another's one");
  fairness_command
      ->add_option("--queued", fairness.queued_count, "Jobs of the first user")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  fairness_command
      ->add_option("--history", fairness.history_count,
                   "Jobs in the database before")
      ->check(CLI::Range(2, 10'000'000))
      ->capture_default_str();
  fairness_command
      ->add_option("--calls", fairness.call_count, "Calls timed of each kind")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  fairness_command->add_flag(
      "--lists-only", fairness.lists_only,
      "Only the times of lists and watches, as the owner");

  for (CLI::App* const command : app.get_subcommands({})) {
    command->add_option("--out", out_dir,
                        "Folder for the table and the figures as JSON");
  }
  CLI11_PARSE(app, argc, argv);
  if (storm_command->parsed()) return Conclude(RunStorm(storm), out_dir);
  if (soak_command->parsed()) return Conclude(RunSoak(soak), out_dir);
  return Conclude(RunFairness(fairness), out_dir);
}

}  // namespace
}  // namespace dissonance

int main(int argc, char** argv) { return dissonance::Main(argc, argv); }
