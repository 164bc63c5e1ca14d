// A stand-in for dissonanced: serves health and canned answers on the data
// directory's socket until SIGTERM. With DATA_DIR/refuse it ends at once, as a
// server does that finds its port in use.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/client/fake_server.h"

int main(int argc, char** argv) {
  if (argc < 3 || std::string(argv[1]) != "--data-dir") return 2;
  const std::string data_dir = argv[2];
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  if (std::filesystem::exists(data_dir + "/refuse")) {
    std::fprintf(stderr, "error: port 7433 is in use\n");
    return 1;
  }
  std::fprintf(stderr, "starting\n");
  std::ofstream(data_dir + "/owner.token") << "secret\n";
  std::ofstream(data_dir + "/dissonanced.pid") << ::getpid() << "\n";
  {
    const dissonance::FakeServer server(data_dir + "/dissonance.sock",
                                        "secret");
    int signal = 0;
    sigwait(&set, &signal);
  }
  std::fprintf(stderr, "stopped\n");
  std::filesystem::remove(data_dir + "/dissonanced.pid");
  return 0;
}
