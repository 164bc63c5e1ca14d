#include "server/control/command.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "absl/strings/numbers.h"
#include "src/base/file.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

Command Shell(const std::string& script) {
  return {.program = "/bin/sh", .arguments = {"-c", script, "name"}};
}

TEST(CommandTest, KeepsWhatItWritesAndHowItEnds) {
  const auto output = RunCommand(Shell("echo said; echo warned >&2; exit 7"));
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_EQ(output->output, "said\n");
  EXPECT_EQ(output->errors, "warned\n");
  EXPECT_EQ(output->exit_code, 7);
  const auto killed = RunCommand(Shell("kill -9 $$"));
  ASSERT_TRUE(killed.ok()) << killed.status();
  EXPECT_EQ(killed->exit_code, 128 + SIGKILL);
}

TEST(CommandTest, PassesArgumentsInputAndEnvironmentAsTheyAre) {
  constexpr int kOurs = 57;  // not closed by exec
  ASSERT_EQ(::dup2(STDOUT_FILENO, kOurs), kOurs);
  Command command =
      Shell("printf '[%s]' \"$@\"; echo; cat; exec /usr/bin/env; ");
  command.arguments.insert(command.arguments.end(), {"a b", "", "$(c)'\n"});
  command.environment = {"ONLY=this"};
  command.input = std::string(200'000, 'x') + "\n";
  const auto output = RunCommand(command);
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_THAT(output->output,
              testing::StartsWith("[a b][][$(c)'\n]\n" + command.input));
  EXPECT_THAT(output->output, HasSubstr("\nONLY=this\n"));
  EXPECT_THAT(output->output, testing::Not(HasSubstr("PATH=/")));
  const auto files = RunCommand(Shell("ls /proc/$$/fd"));
  ::close(kOurs);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->output, "0\n1\n2\n");
}

TEST(CommandTest, IsKilledWithWhatItStartedWhenItsTimeIsOver) {
  const TempFolder folder;
  Command command = Shell("sleep 600 & echo $! >\"$FOLDER/pid\"; wait");
  command.environment = {"PATH=/usr/bin:/bin", "FOLDER=" + folder.path()};
  command.time_limit = absl::Seconds(2);
  const absl::Status status = RunCommand(command).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("/bin/sh did not end within 2s"));
  pid_t child = 0;
  ASSERT_TRUE(
      absl::SimpleAtoi(ReadFile(folder.File("pid"), 64).value_or(""), &child));
  // It will be gone, or is and waits to be seen to.
  const std::string file = "/proc/" + std::to_string(child) + "/stat";
  std::string stat = ReadFile(file, 4096).value_or("");
  while (!stat.empty() && stat.find(") Z ") == std::string::npos) {
    std::this_thread::yield();
    stat = ReadFile(file, 4096).value_or("");
  }
}

TEST(CommandTest, WhatItLeavesRunningIsNotWaitedFor) {
  Command command = Shell("sleep 600 & echo $!");
  command.environment = {"PATH=/usr/bin:/bin"};
  const auto output = RunCommand(command);
  ASSERT_TRUE(output.ok()) << output.status();
  pid_t left = 0;
  ASSERT_TRUE(absl::SimpleAtoi(output->output, &left)) << output->output;
  EXPECT_EQ(::kill(left, SIGKILL), 0);
}

TEST(CommandTest, IsKilledWhenItWritesTooMuch) {
  Command command = Shell("exec cat /dev/zero");
  command.environment = {"PATH=/usr/bin:/bin"};
  command.output_bytes = 1000;
  const absl::Status status = RunCommand(command).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
}

TEST(CommandTest, AProgramThatIsNotThereIsNotFound) {
  const TempFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder.File("text"), "no program").ok());
  for (const std::string& program :
       {folder.File("none"), folder.File("text"), folder.path(),
        std::string("no-such-program-anywhere")}) {
    const absl::Status status = RunCommand({.program = program}).status();
    EXPECT_TRUE(absl::IsNotFound(status)) << program << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(program));
  }
  EXPECT_TRUE(FindProgram("sh").ok());
}

}  // namespace
}  // namespace dissonance
