// `dissonance docs export`: documents in the formats that fine-tuning elsewhere
// takes. Not thread safe.
#ifndef DISSONANCE_CLIENT_CLI_DOCS_EXPORT_H_
#define DISSONANCE_CLIENT_CLI_DOCS_EXPORT_H_

#include <string>

#include "absl/status/status.h"
#include "client/cli/command.h"

namespace dissonance::cli {

enum class DocsFormat {
  kChat,  // {"messages": [{"role", "content"}, ...]} a line
  kText,  // {"text"} a line
};

struct DocsExportArgs {
  std::string file;
  DocsFormat format = DocsFormat::kChat;
  std::string out;
  std::string system;  // empty: no such message
  std::string user;    // empty: an instruction that fits the document
  std::string model;   // whose tokens are counted; empty: estimated
};

// The whole command; a server is asked only where a model is named.
absl::Status DocsExport(const Session& session, const DocsExportArgs& args);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_DOCS_EXPORT_H_
