// A temporary data directory with a fake server on its socket, and the real
// `dissonance` program run against it with an environment of its own.
#ifndef DISSONANCE_TESTS_CLIENT_CLI_FIXTURE_H_
#define DISSONANCE_TESTS_CLIENT_CLI_FIXTURE_H_

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"
#include "tests/client/subprocess.h"

namespace dissonance {

class CliTest : public ::testing::Test {
 protected:
  CliTest() {
    // Short: a socket's path has a limit of 107 bytes.
    std::string path = "/tmp/cli.XXXXXX";
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    directory_ = path;
    environment_ = {{"HOME", directory_ + "/home"},
                    {"PATH", "/usr/bin:/bin"},
                    {"TZ", "UTC"},
                    {"DISSONANCE_DATA_DIR", directory_}};
  }

  ~CliTest() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  // A server with the token in the data directory, where the program finds it.
  FakeServer& StartServer() {
    WriteFile("owner.token", "secret\n");
    server_ =
        std::make_unique<FakeServer>(directory_ + "/dissonance.sock", "secret");
    return *server_;
  }

  // Path of a file in the test's directory.
  std::string Path(const std::string& name) const {
    return directory_ + "/" + name;
  }

  // Writes it and returns its path.
  std::string WriteFile(const std::string& name, const std::string& text) {
    std::ofstream(Path(name), std::ios::binary) << text;
    return Path(name);
  }

  std::string ReadFile(const std::string& name) const {
    std::ostringstream out;
    out << std::ifstream(Path(name), std::ios::binary).rdbuf();
    return out.str();
  }

  std::unique_ptr<Subprocess> Begin(std::vector<std::string> arguments,
                                    const std::string& input = "") const {
    arguments.insert(arguments.begin(), program_);
    return std::make_unique<Subprocess>(arguments, environment_, input);
  }

  CommandResult Run(const std::vector<std::string>& arguments,
                    const std::string& input = "") const {
    return Begin(arguments, input)->Finish();
  }

  std::string directory_;
  std::string program_ = DISSONANCE_BINARY_DIR "/dissonance";
  std::map<std::string, std::string> environment_;
  std::unique_ptr<FakeServer> server_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_CLIENT_CLI_FIXTURE_H_
