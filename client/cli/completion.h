// Shell completion scripts, made from the commands themselves so that they
// never fall behind. Thread safe.
#ifndef DISSONANCE_CLIENT_CLI_COMPLETION_H_
#define DISSONANCE_CLIENT_CLI_COMPLETION_H_

#include <string>

namespace CLI {
class App;
}  // namespace CLI

namespace dissonance::cli {

enum class Shell { kBash, kZsh, kFish };

// A script for the shell to source. Completes nouns, verbs, options and output
// formats, and file names elsewhere.
std::string CompletionScript(const CLI::App& root, Shell shell);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_COMPLETION_H_
