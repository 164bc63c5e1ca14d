// The command line as a whole: parses it, runs one command, prints its error.
// Not thread safe; call from the main thread before any other is started.
#ifndef DISSONANCE_CLIENT_CLI_APP_H_
#define DISSONANCE_CLIENT_CLI_APP_H_

namespace dissonance::cli {

// Runs the program and returns its exit code (ExitCode).
int RunCli(int argc, char** argv);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_APP_H_
