// `dissonance docs import`: documents that are there already, checked as those
// that a model writes are. Without a server. Not thread safe.
#ifndef DISSONANCE_CLIENT_CLI_DOCS_IMPORT_H_
#define DISSONANCE_CLIENT_CLI_DOCS_IMPORT_H_

#include <string>

#include "absl/status/status.h"
#include "client/cli/command.h"

namespace dissonance::cli {

struct DocsImportArgs {
  std::string file;
  std::string universe;   // empty: the wording alone is checked
  std::string forbidden;  // empty: the usual phrases
  std::string out;        // empty: nothing is written
  double near_duplicates = 0.8;
};

// The whole command. What is not valid is shown, and listed in failures.jsonl
// where files are written; FAILED_PRECONDITION if it is listed nowhere, or if
// nothing is valid.
absl::Status DocsImport(const Session& session, const DocsImportArgs& args);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_DOCS_IMPORT_H_
