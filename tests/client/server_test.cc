// Starting, stopping and reading the log of the server on this machine.
#include <csignal>

#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// The program in a folder of its own, with a server program beside it.
class ServerCommandTest : public CliTest {
 protected:
  ServerCommandTest() {
    std::filesystem::create_directories(Path("bin"));
    std::filesystem::copy(program_, Path("bin/dissonance"));
    std::filesystem::copy(FAKE_DISSONANCED, Path("bin/dissonanced"));
    program_ = Path("bin/dissonance");
  }

  ~ServerCommandTest() override { Run({"server", "stop"}); }
};

TEST_F(ServerCommandTest, StartsWaitsUntilReadyAndStops) {
  const CommandResult start = Run({"server", "start"});
  ASSERT_EQ(start.exit_code, 0) << start.err;
  EXPECT_THAT(start.out,
              StartsWith("ready: unix:" + directory_ + "/dissonance.sock"));
  EXPECT_EQ(Run({"server", "status"}).exit_code, 0);
  const CommandResult stop = Run({"server", "stop"});
  EXPECT_EQ(stop.exit_code, 0) << stop.err;
  EXPECT_THAT(stop.out, StartsWith("stopped process "));
  EXPECT_FALSE(std::filesystem::exists(Path("dissonanced.pid")));
  EXPECT_EQ(Run({"server", "status"}).exit_code, 1);
}

TEST_F(ServerCommandTest, ASecondStartFindsTheServerRunning) {
  const auto first =
      nlohmann::json::parse(Run({"server", "start", "-o", "json"}).out);
  const auto second =
      nlohmann::json::parse(Run({"server", "start", "-o", "json"}).out);
  EXPECT_EQ(first["already_running"], false);
  EXPECT_EQ(second["already_running"], true);
  EXPECT_EQ(first["pid"], second["pid"]);
  const CommandResult third = Run({"server", "start", "--device", "cuda:0"});
  EXPECT_EQ(third.exit_code, 0);
  EXPECT_THAT(third.err, HasSubstr("goes on with the options that it was"));
  const CommandResult fourth = Run({"server", "start", "--foreground"});
  EXPECT_EQ(fourth.exit_code, 1);
  EXPECT_THAT(fourth.err, HasSubstr("already (process"));
}

TEST_F(ServerCommandTest, TakesTheDataDirectoryFromTheServersConfiguration) {
  const std::string config =
      WriteFile("config.toml", "data_dir = \"" + directory_ + "\"\n");
  environment_.erase("DISSONANCE_DATA_DIR");
  const CommandResult start = Run({"server", "start", "--config", config});
  environment_["DISSONANCE_DATA_DIR"] = directory_;
  EXPECT_EQ(start.exit_code, 0) << start.err;
  EXPECT_THAT(start.out, HasSubstr(directory_ + "/dissonance.sock"));
}

TEST_F(ServerCommandTest, AServerThatEndsEarlyIsReportedInItsOwnWords) {
  WriteFile("refuse", "");
  const CommandResult start = Run({"server", "start"});
  EXPECT_EQ(start.exit_code, 1);
  EXPECT_THAT(start.err, HasSubstr("error: port 7433 is in use"));
  EXPECT_THAT(start.err,
              HasSubstr("the server ended before it was ready (exit code 1)"));
}

TEST_F(ServerCommandTest, AWorkerThatCannotStartIsReportedInItsOwnWords) {
  WriteFile("worker_ends", "");
  const CommandResult start = Run({"server", "start", "--timeout", "60"});
  EXPECT_EQ(start.exit_code, 1);
  EXPECT_THAT(start.err, HasSubstr("no libtorch.so\n"));
  EXPECT_THAT(start.err, HasSubstr("the worker ended before it was ready: exit "
                                   "code 127; the server (process "));
  EXPECT_THAT(start.err, HasSubstr("logs/worker.log"));
}

TEST_F(ServerCommandTest, StoppingWhenNoneRunsIsNoFailure) {
  const CommandResult stop = Run({"server", "stop"});
  EXPECT_EQ(stop.exit_code, 0);
  EXPECT_THAT(stop.out, HasSubstr("no server runs on the data directory"));
}

TEST_F(ServerCommandTest, NeverStopsAProcessThatIsNotTheServer) {
  // This test's own process: had it been signalled, there would be no result.
  WriteFile("dissonanced.pid", std::to_string(::getpid()));
  EXPECT_THAT(Run({"server", "stop"}).out, HasSubstr("no server runs"));
}

TEST_F(ServerCommandTest, MissingServerProgramIsNamed) {
  std::filesystem::remove(Path("bin/dissonanced"));
  const CommandResult start = Run({"server", "start"});
  EXPECT_EQ(start.exit_code, 3);
  EXPECT_THAT(start.err, HasSubstr(Path("bin/dissonanced")));
}

TEST_F(ServerCommandTest, PrintsTheLastLinesOfTheLogAndFollowsIt) {
  EXPECT_EQ(Run({"server", "logs"}).exit_code, 3);
  std::filesystem::create_directories(Path("logs"));
  WriteFile("logs/dissonanced.log", "one\ntwo\nthree\n");
  EXPECT_EQ(Run({"server", "logs", "-n", "2"}).out, "two\nthree\n");
  const auto process = Begin({"server", "logs", "-f", "-n", "1"});
  process->WaitForOutput("three\n");
  std::ofstream(Path("logs/dissonanced.log"), std::ios::app) << "four\n";
  process->WaitForOutput("four\n");
  process->Signal(SIGINT);
  EXPECT_EQ(process->Finish().out, "three\nfour\n");
}

TEST_F(ServerCommandTest, ForegroundBecomesTheServer) {
  const auto process = Begin({"server", "start", "--foreground"});
  process->WaitForError("starting");
  process->Signal(SIGTERM);
  const CommandResult result = process->Finish();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("stopped"));
}

}  // namespace
}  // namespace dissonance
