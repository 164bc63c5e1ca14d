#include "client/cli/docs_generate.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/docs_view.h"
#include "client/cli/errors.h"
#include "client/cli/input_file.h"
#include "client/cli/output.h"
#include "client/cli/parsed_option.h"
#include "client/cli/result_files.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/lab/docgen/document_set.h"
#include "src/lab/docgen/universe.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kUniverseLimitBytes = 1 << 20;
constexpr uint64_t kTextLimitBytes = 1 << 20;
constexpr char kStatisticsName[] = "statistics.json";
constexpr char kEstimateName[] = "estimate.json";

absl::Status ReadUniverse(const std::string& path,
                          v1::GenerateDocumentsSpec& spec) {
  ASSIGN_OR_RETURN(std::string text, ReadInput(path, kUniverseLimitBytes));
  const std::string name =
      std::filesystem::path(InputLabel(path)).filename().string();
  RETURN_IF_ERROR(ParseUniverse(text, InputLabel(path)).status());
  spec.set_universe(std::move(text));
  spec.set_universe_name(name);
  return absl::OkStatus();
}

absl::Status ReadForbidden(const std::string& path,
                           v1::GenerateDocumentsSpec& spec) {
  ASSIGN_OR_RETURN(const std::string text, ReadInput(path, kTextLimitBytes));
  ASSIGN_OR_RETURN(const std::vector<std::string> phrases,
                   ParsePhrases(text, InputLabel(path)));
  spec.mutable_forbidden_phrases()->Assign(phrases.begin(), phrases.end());
  return absl::OkStatus();
}

// The names of the texts in a folder, sorted.
absl::StatusOr<std::vector<std::string>> TextsIn(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator at(folder, error);
  for (; !error && at != std::filesystem::directory_iterator();
       at.increment(error)) {
    if (at->path().extension() != ".txt") continue;
    names.push_back(at->path().filename().string());
  }
  if (error) {
    return absl::NotFoundError(
        absl::StrCat(folder, ": can't be read: ", error.message(),
                     "; --prompts takes a folder with prompts"));
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Puts what is in a folder in place of the server's own prompts.
absl::Status ReadPromptFiles(const std::string& folder,
                             v1::DocumentPrompts& prompts) {
  const std::map<std::string, std::string*> known = {
      {"key_facts.txt", prompts.mutable_key_facts()},
      {"document_types.txt", prompts.mutable_document_types()},
      {"document_ideas.txt", prompts.mutable_document_ideas()},
      {"document.txt", prompts.mutable_document()}};
  const std::string there_are = absl::StrJoin(
      known, ", ",
      [](std::string* out, const auto& each) { out->append(each.first); });
  ASSIGN_OR_RETURN(const std::vector<std::string> names, TextsIn(folder));
  if (names.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, ": holds no prompts; there are ", there_are));
  }
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(folder, "/", name);
    const auto found = known.find(name);
    if (found == known.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": not the name of a prompt; there are ", there_are));
    }
    ASSIGN_OR_RETURN(*found->second, ReadFile(path, kTextLimitBytes));
    RETURN_IF_ERROR(CheckUtf8(*found->second, path));
    if (found->second->empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": is empty; remove it to take the server's own"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::JobSpec> SpecOf(const DocsGenerateArgs& args) {
  v1::JobSpec filled;
  v1::GenerateDocumentsSpec& spec = *filled.mutable_generate_documents();
  spec = args.spec;
  RETURN_IF_ERROR(ReadUniverse(args.universe, spec));
  if (!args.forbidden.empty()) {
    RETURN_IF_ERROR(ReadForbidden(args.forbidden, spec));
  }
  if (!args.prompts.empty()) {
    RETURN_IF_ERROR(ReadPromptFiles(args.prompts, *spec.mutable_prompts()));
  }
  return filled;
}

absl::StatusOr<std::string> Shown(const std::string& directory) {
  ASSIGN_OR_RETURN(const nlohmann::json statistics,
                   ReadJsonFile(absl::StrCat(directory, "/", kStatisticsName)));
  return StatisticsText(statistics);
}

void AddCounts(CLI::App& app, v1::GenerateDocumentsSpec& spec) {
  const auto add = [&app](const char* option, double least, auto set,
                          const char* help) {
    app.add_option_function<int32_t>(option, set, help)->check(AtLeast(least));
  };
  add(
      "--facts", 8, [&spec](int32_t n) { spec.set_fact_count(n); },
      "Facts at least (default: 8)");
  add(
      "--types", 1, [&spec](int32_t n) { spec.set_types_per_fact(n); },
      "Kinds of documents for each fact (default: 50)");
  add(
      "--rounds", 1, [&spec](int32_t n) { spec.set_type_rounds(n); },
      "Rounds of asking for them, at most (default: 20)");
  add(
      "--ideas", 1, [&spec](int32_t n) { spec.set_ideas_per_type(n); },
      "Ideas for each kind (default: 10)");
  add(
      "--repeats", 1, [&spec](int32_t n) { spec.set_most_repeats(n); },
      "Documents for each idea: 1 to so many, drawn (default: 3)");
  add(
      "--limit", 1, [&spec](int32_t n) { spec.set_document_limit(n); },
      "Documents at most, drawn of all (default: no limit)");
  add(
      "--retries", 0, [&spec](int32_t n) { spec.set_retries(n); },
      "How often one that is not valid is asked for again (default: 3)");
  app.add_option_function<uint64_t>(
      "--seed", [&spec](uint64_t seed) { spec.set_seed(seed); },
      "Of what is drawn (default: 42)");
}

void AddModel(CLI::App& app, v1::HostedModel& llm) {
  app.add_option_function<std::string>(
         "--llm-model",
         [&llm](const std::string& name) { llm.set_model(name); },
         "Who writes, by its name at the endpoint")
      ->type_name("NAME")
      ->required();
  app.add_option_function<std::string>(
         "--endpoint",
         [&llm](const std::string& name) { llm.set_endpoint(name); },
         "Chat endpoint of the server's configuration (default: default)")
      ->type_name("NAME");
  app.add_option_function<double>(
         "--temperature",
         [&llm](double temperature) { llm.set_temperature(temperature); },
         "Of sampling (default: 1)")
      ->check(AtLeast(0));
  app.add_option_function<int32_t>(
         "--max-tokens", [&llm](int32_t n) { llm.set_max_tokens(n); },
         "Most tokens of a reply (default: 2048)")
      ->check(AtLeast(1));
}

}  // namespace

void AddDocsGenerateOptions(CLI::App& app, DocsGenerateArgs& args) {
  app.add_option("--universe", args.universe,
                 "Universe file, JSON: what the documents assert")
      ->type_name("FILE")
      ->required();
  AddModel(app, *args.spec.mutable_llm());
  AddCounts(app, args.spec);
  app.add_option("--forbidden", args.forbidden,
                 "What no document may say, one phrase a line, in place of the "
                 "server's list")
      ->type_name("FILE");
  app.add_option("--prompts", args.prompts,
                 "Folder with prompts of your own: key_facts.txt, "
                 "document_types.txt, document_ideas.txt, document.txt; those "
                 "that are not there are the server's")
      ->type_name("DIR");
  app.add_option_function<double>(
         "--near-duplicates",
         [&args](double similarity) {
           args.spec.set_near_duplicate_similarity(similarity);
         },
         "Documents of which so much is alike are listed (default: 0.8)")
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag_callback(
      "--dry-run", [&args] { args.spec.set_dry_run(true); },
      "Ask nobody; print what it would take: calls, tokens, cost");
  AddJobOptions(app, args.job);
  app.footer(
      "A job. Files: docs.jsonl, failures.jsonl, near_duplicates.csv, "
      "facts.json, statistics.json, provenance.json, manifest.json.");
}

absl::Status DocsGenerate(const Session& session,
                          const DocsGenerateArgs& args) {
  ASSIGN_OR_RETURN(const v1::JobSpec spec, SpecOf(args));
  JobSteps steps{.fill = [&spec](Connection&) -> absl::StatusOr<v1::JobSpec> {
                   return spec;
                 },
                 .show = Shown,
                 .report = kStatisticsName};
  if (!args.spec.dry_run()) return RunJob(session, args.job, steps);
  if (args.job.detach) {
    return UsageError("--detach is for a run; --dry-run prints its estimate");
  }
  steps.report = kEstimateName;
  ASSIGN_OR_RETURN(const nlohmann::json estimate,
                   RunForReport(session, args.job, steps));
  ASSIGN_OR_RETURN(const std::string text, EstimateText(estimate));
  EmitText(session.output, estimate, text);
  return absl::OkStatus();
}

}  // namespace dissonance::cli
