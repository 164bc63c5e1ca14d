// dissonance: the command line client.
#include "client/cli/app.h"

int main(int argc, char** argv) { return dissonance::cli::RunCli(argc, argv); }
