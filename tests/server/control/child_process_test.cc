#include "server/control/child_process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "src/base/file.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

constexpr int kPatienceMs = 60'000;

// Starts a program that knows nothing of its parent, tells its process number
// and is killed.
[[noreturn]] void StartAndDie(const ChildProcess::Options& options, int told) {
  const auto child = ChildProcess::Start(options);
  const pid_t pid = child.ok() ? (*child)->pid() : 0;
  if (::write(told, &pid, sizeof(pid)) == sizeof(pid)) ::raise(SIGKILL);
  ::_exit(EXIT_FAILURE);
}

TEST(ChildProcessTest, EndsWithItsParentWhateverItRuns) {
  const TempFolder folder;
  // Orphans become ours.
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  int told[2];
  ASSERT_EQ(::pipe2(told, O_CLOEXEC), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    StartAndDie({.program = "/bin/sleep",
                 .arguments = {"3600"},
                 .log_file = folder.File("log")},
                told[1]);
  }
  pid_t child = 0;
  ASSERT_EQ(::read(told[0], &child, sizeof(child)), sizeof(child));
  ASSERT_GT(child, 0);
  ASSERT_EQ(::waitpid(parent, nullptr, 0), parent);

  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
  ASSERT_GE(pidfd, 0);
  pollfd poll = {pidfd, POLLIN, 0};
  EXPECT_EQ(::poll(&poll, 1, kPatienceMs), 1) << "it outlives its parent";
  ::close(pidfd);
  ::kill(child, SIGTERM);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  ::close(told[0]);
  ::close(told[1]);
}

TEST(ChildProcessTest, GetsItsArgumentsEnvironmentAndNoDescriptorsOfOurs) {
  const TempFolder folder;
  constexpr int kOurs = 57;  // not closed by exec
  ASSERT_EQ(::dup2(STDOUT_FILENO, kOurs), kOurs);
  const auto child = ChildProcess::Start(
      {.program = "/bin/sh",
       .arguments = {"-c", "echo $0 $SAID; exec ls /proc/self/fd", "argument"},
       .environment = {"SAID=environment"},
       .log_file = folder.File("log")});
  ::close(kOurs);
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ((*child)->Reap(), "exit code 0");
  // 3 is the folder that ls reads.
  EXPECT_EQ(ReadFile(folder.File("log"), 4096).value_or(""),
            "argument environment\n0\n1\n2\n3\n");
}

TEST(ChildProcessTest, HandlesSignalsAsUsualWhateverItsParentDoes) {
  const TempFolder folder;
  const auto handler = ::signal(SIGTERM, SIG_IGN);
  sigset_t blocked;
  sigset_t before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto child = ChildProcess::Start({.program = "/bin/sleep",
                                          .arguments = {"3600"},
                                          .log_file = folder.File("log")});
  sigset_t after;
  ::pthread_sigmask(SIG_SETMASK, &before, &after);
  ::signal(SIGTERM, handler);
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(::sigismember(&after, SIGTERM), 1);
  EXPECT_EQ(::sigismember(&after, SIGINT), 0);
  EXPECT_EQ(::getpgid((*child)->pid()), (*child)->pid());
  (*child)->Signal(SIGTERM);
  EXPECT_EQ((*child)->Reap(), "signal 15 (Terminated)");
}

TEST(ChildProcessTest, AProgramThatCannotRunIsAnErrorThatNamesIt) {
  const TempFolder folder;
  const absl::Status missing =
      ChildProcess::Start(
          {.program = folder.File("none"), .log_file = folder.File("log")})
          .status();
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_THAT(std::string(missing.message()),
              HasSubstr("cannot start " + folder.File("none")));
  const absl::Status no_log =
      ChildProcess::Start(
          {.program = "/bin/true", .log_file = folder.File("no/log")})
          .status();
  EXPECT_TRUE(absl::IsNotFound(no_log)) << no_log;
}

}  // namespace
}  // namespace dissonance
