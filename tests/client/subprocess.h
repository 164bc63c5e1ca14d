// Runs a program and looks at what it wrote and how it ended. Not thread safe.
// A program that outlives its deadline is killed and fails the test.
//
//   Subprocess process({"/bin/echo", "hi"}, {{"TZ", "UTC"}});
//   EXPECT_EQ(process.Finish().out, "hi\n");
#ifndef DISSONANCE_TESTS_CLIENT_SUBPROCESS_H_
#define DISSONANCE_TESTS_CLIENT_SUBPROCESS_H_

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

namespace dissonance {

struct CommandResult {
  int exit_code = -1;  // 128 + signal if one ended it
  std::string out;
  std::string err;
};

class Subprocess {
 public:
  // Standard input holds `input`. The environment is `environment` alone.
  Subprocess(const std::vector<std::string>& argv,
             const std::map<std::string, std::string>& environment,
             const std::string& input = "");
  ~Subprocess();

  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  // Reads until standard error (output) contains `text`.
  void WaitForError(const std::string& text);
  void WaitForOutput(const std::string& text);

  void Signal(int signal);

  // Waits for the end.
  CommandResult Finish();

 private:
  // Reads what there is; false once both streams have ended.
  bool ReadSome();

  pid_t pid_ = -1;
  int out_fd_ = -1;
  int err_fd_ = -1;
  CommandResult result_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_CLIENT_SUBPROCESS_H_
