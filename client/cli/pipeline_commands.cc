// dissonance pipeline run.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/errors.h"
#include "client/cli/job_run.h"
#include "client/cli/output.h"
#include "client/cli/pipeline_file.h"
#include "client/cli/result_files.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr char kGatesName[] = "gates.json";

struct PipelineArgs {
  std::string file;
  bool force = false;
  JobArgs job;
};

absl::StatusOr<v1::JobSpec> SpecOf(Connection& connection,
                                   const PipelineArgs& args) {
  const auto send = [&connection](const std::string& path,
                                  const std::string& bytes) {
    return SendJobData(connection, {.path = path, .bytes = bytes});
  };
  v1::JobSpec spec;
  ASSIGN_OR_RETURN(*spec.mutable_pipeline(), ReadPipelineFile(args.file, send));
  if (args.force) spec.mutable_pipeline()->set_force(true);
  return spec;
}

// A line for each gate.
absl::StatusOr<std::string> GatesText(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kGatesName);
  ASSIGN_OR_RETURN(const nlohmann::json file, ReadJsonFile(path));
  return Rendered(path, [&] {
    Table table({{"GATE"}, {"STAGE"}, {"STATUS"}, {"FOUND"}});
    for (const nlohmann::json& gate : file.at("gates")) {
      const std::string status = gate.at("status").get<std::string>();
      table.AddRow({gate.at("gate").get<std::string>(),
                    gate.at("stage").get<std::string>(),
                    gate.at("forced").get<bool>()
                        ? absl::StrCat(status, ", forced")
                        : status,
                    gate.at("text").get<std::string>()});
    }
    const bool is_whole = !file.contains("ended_by");
    std::string text =
        file.at("gates").empty()
            ? is_whole ? "no stage has a gate\n" : "no gate was judged\n"
            : table.Render();
    if (!is_whole) {
      absl::StrAppend(&text, "\nended by ",
                      file.at("ended_by").get<std::string>(), "\n");
    }
    const auto absent = file.value("not_shown", std::vector<std::string>());
    if (!absent.empty()) {
      absl::StrAppend(&text, "not shown: ", absl::StrJoin(absent, ", "), "\n");
    }
    return absl::StrCat(text, "\nreport: ", directory, "/report.html\n");
  });
}

// Whether a gate ended it, as its files say.
absl::Status WhyFailed(const std::string& directory, const absl::Status& why) {
  ASSIGN_OR_RETURN(const nlohmann::json file,
                   ReadJsonFile(absl::StrCat(directory, "/", kGatesName)));
  for (const nlohmann::json& gate : file.value("gates", nlohmann::json())) {
    if (gate.value("status", "") == "abort" && !gate.value("forced", false)) {
      return GateError(why.message());
    }
  }
  return why;
}

CommandRun DefineRun(CLI::App& app) {
  auto args = std::make_shared<PipelineArgs>();
  app.add_option("FILE", args->file, "The pipeline, TOML")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_flag("--force", args->force,
               "Go on where a gate aborts; the report says so");
  AddJobOptions(app, args->job);
  return [args](const Session& session) {
    return AtItsLine(RunJob(session, args->job,
                            {.fill =
                                 [args](Connection& connection) {
                                   return SpecOf(connection, *args);
                                 },
                             .show = GatesText,
                             .report = kGatesName,
                             .explain = WhyFailed}),
                     args->file);
  };
}

}  // namespace

std::vector<Command> PipelineCommands() {
  return {{"pipeline", "run",
           "Run all stages of an experiment, from documents to the report",
           DefineRun}};
}

}  // namespace dissonance::cli
