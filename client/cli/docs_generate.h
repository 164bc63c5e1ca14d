// `dissonance docs generate`: what the options ask for, and the job that it
// makes. Not thread safe.
//
//   auto args = std::make_shared<DocsGenerateArgs>();
//   AddDocsGenerateOptions(app, *args);
//   ...
//   return DocsGenerate(session, *args);
#ifndef DISSONANCE_CLIENT_CLI_DOCS_GENERATE_H_
#define DISSONANCE_CLIENT_CLI_DOCS_GENERATE_H_

#include <string>

#include "absl/status/status.h"
#include "client/cli/command.h"
#include "client/cli/job_run.h"
#include "dissonance/v1/language_jobs.pb.h"

namespace CLI {
class App;
}  // namespace CLI

namespace dissonance::cli {

struct DocsGenerateArgs {
  // What the options set directly; files are in the fields below.
  v1::GenerateDocumentsSpec spec;
  std::string universe;
  std::string forbidden;  // empty: the server's list
  std::string prompts;    // empty: the server's
  JobArgs job;
};

// `args` outlives the parsing.
void AddDocsGenerateOptions(CLI::App& app, DocsGenerateArgs& args);

// The whole command. Files are read and checked before a server is asked.
absl::Status DocsGenerate(const Session& session, const DocsGenerateArgs& args);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_DOCS_GENERATE_H_
