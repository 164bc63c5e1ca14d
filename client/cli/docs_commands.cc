// dissonance docs generate | import | export.
#include <memory>

#include "CLI/CLI.hpp"
#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/docs_export.h"
#include "client/cli/docs_generate.h"
#include "client/cli/docs_import.h"

namespace dissonance::cli {
namespace {

CommandRun DefineGenerate(CLI::App& app) {
  auto args = std::make_shared<DocsGenerateArgs>();
  AddDocsGenerateOptions(app, *args);
  return
      [args](const Session& session) { return DocsGenerate(session, *args); };
}

CommandRun DefineImport(CLI::App& app) {
  auto args = std::make_shared<DocsImportArgs>();
  app.add_option("FILE", args->file,
                 "Documents, JSON lines with \"content\" or \"text\"; -: stdin")
      ->required();
  app.add_option("--universe", args->universe,
                 "Universe file, JSON: what the documents have to assert")
      ->type_name("FILE");
  app.add_option("--forbidden", args->forbidden,
                 "What no document may say, one phrase a line, in place of the "
                 "usual list")
      ->type_name("FILE");
  app.add_option("--near-duplicates", args->near_duplicates,
                 "Documents of which so much is alike are listed (default: "
                 "0.8)")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--out", args->out,
                 "Folder for docs.jsonl, failures.jsonl, near_duplicates.csv, "
                 "statistics.json, manifest.json; without it documents are "
                 "only checked, and exit code 1 says that some are not valid")
      ->type_name("DIR");
  return [args](const Session& session) { return DocsImport(session, *args); };
}

CommandRun DefineExport(CLI::App& app) {
  auto args = std::make_shared<DocsExportArgs>();
  app.add_option("FILE", args->file, "Documents, JSON lines; -: stdin")
      ->required();
  AddChoice<DocsFormat>(
      app, "--format", "FORMAT", args->format,
      {{"chat", DocsFormat::kChat}, {"text", DocsFormat::kText}},
      "chat: {\"messages\"} lines, as OpenAI's fine-tuning "
      "takes them; text: {\"text\"} lines")
      ->required();
  app.add_option("--out", args->out, "The file to write")
      ->type_name("FILE")
      ->required();
  app.add_option("--system", args->system,
                 "System message of every conversation (default: none)")
      ->type_name("TEXT");
  app.add_option("--user", args->user,
                 "What the user asks for (default: a document of its kind)")
      ->type_name("TEXT");
  app.add_option("--model", args->model,
                 "Count tokens as this model of the server's does")
      ->type_name("NAME");
  return [args](const Session& session) { return DocsExport(session, *args); };
}

}  // namespace

std::vector<Command> DocsCommands() {
  return {
      {"docs", "generate", "Have a hosted model write a universe's documents",
       DefineGenerate},
      {"docs", "import", "Check documents that are there, without a server",
       DefineImport},
      {"docs", "export", "Write documents for fine-tuning elsewhere",
       DefineExport},
  };
}

}  // namespace dissonance::cli
