#include "server/control/slurm_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/control/command.h"
#include "src/base/file.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string>& HostileTexts() {
  static const auto* const texts = new std::vector<std::string>{
      "",
      " ",
      "'",
      "''",
      "it's",
      "'; touch /tmp/x; '",
      "\"",
      "\\",
      "\\'",
      "$HOME",
      "$(touch x)",
      "`touch x`",
      "!!",
      "~",
      "*",
      "a\nb",
      "\n#SBATCH --partition=none\n",
      "-n",
      "#",
      "a&b|c;d<e>f",
      "tab\tand\rreturn",
      "\x01\x7f\xff",
      "größer",
      "${IFS}",
      "EOF",
      "\\n\\0",
  };
  return *texts;
}

TEST(SlurmScriptTest, AQuotedTextIsOneWordOfTheShellWhateverIsInIt) {
  for (const std::string& text : HostileTexts()) {
    const auto output = RunCommand(
        {.program = "/bin/sh",
         .arguments = {"-c", absl::StrCat("printf '[%s]' ", ShellQuote(text),
                                          " ", ShellQuote(text))}});
    ASSERT_TRUE(output.ok()) << output.status();
    EXPECT_EQ(output->exit_code, 0) << output->errors;
    EXPECT_EQ(output->output, absl::StrCat("[", text, "][", text, "]"));
  }
}

TEST(SlurmScriptTest, TheScriptBecomesTheWorkerWithAllThatItWasGiven) {
  const TempFolder folder;
  const std::string program = folder.File("it's a $(worker)");
  ASSERT_TRUE(WriteFileAtomically(program,
                                  "#!/bin/sh\necho $PPID\n"
                                  "printf '[%s]' \"$SAID\" \"$@\"\n",
                                  0700)
                  .ok());
  for (const std::string& text : HostileTexts()) {
    const WorkerScript script{.program = program,
                              .arguments = {"--said", text},
                              .environment = {"SAID=" + text},
                              .token_file = text};
    const auto written = script.Text();
    ASSERT_TRUE(written.ok()) << written.status();
    const auto output = RunCommand({.program = "/bin/sh",
                                    .arguments = {"-c", *written},
                                    .environment = {"PATH=/usr/bin:/bin"}});
    ASSERT_TRUE(output.ok()) << output.status();
    // Its parent is ours: no shell is between.
    EXPECT_THAT(output->output, testing::StartsWith(absl::StrCat(
                                    ::getpid(), "\n[", text, "][--listen][")));
    EXPECT_THAT(output->output, testing::EndsWith(absl::StrCat(
                                    ":0][--said][", text, "][--token-file][",
                                    text, "][--restart-count][0]")));
  }
}

TEST(SlurmScriptTest, TellsHowOftenTheJobWasRunBefore) {
  const auto written =
      WorkerScript{.program = "/bin/echo", .token_file = "/t"}.Text();
  ASSERT_TRUE(written.ok()) << written.status();
  const auto output = RunCommand(
      {.program = "/bin/sh",
       .arguments = {"-c", *written},
       .environment = {"PATH=/usr/bin:/bin", "SLURM_RESTART_COUNT=3"}});
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_THAT(output->output,
              HasSubstr(":0 --token-file /t --restart-count 3"));
}

TEST(SlurmScriptTest, WhatNoScriptCanHoldIsRefused) {
  const auto refused = [](const WorkerScript& script) {
    return absl::IsInvalidArgument(script.Text().status());
  };
  EXPECT_TRUE(
      refused({.program = "/p", .arguments = {std::string("a\0b", 3)}}));
  EXPECT_TRUE(refused({.program = "/p", .arguments = {"a\r\nb"}}));
  for (const char* variable : {"", "A", "=a", "1A=b", "A B=c", "A;B=c"}) {
    EXPECT_TRUE(refused({.program = "/p", .environment = {variable}}))
        << variable;
  }
  EXPECT_FALSE(refused({.program = "/p", .environment = {"A_1=", "b=c=d"}}));
}

}  // namespace
}  // namespace dissonance
