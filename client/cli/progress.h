// How far a job is, on stderr: a bar that is redrawn on a terminal, plain
// lines every few seconds elsewhere. Not thread safe. Borrows its stream and
// clock, which must outlive it.
//
//   ProgressDisplay display(stderr, terminal, Clock::Real());
//   display.Update(progress);       // [######------]  120/360 items  ...
//   display.Line("loading data");   // above the bar
//   display.Finish();
#ifndef DISSONANCE_CLIENT_CLI_PROGRESS_H_
#define DISSONANCE_CLIENT_CLI_PROGRESS_H_

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/base/clock.h"

namespace dissonance::cli {

class ProgressDisplay {
 public:
  // `terminal`: whether `stream` is one.
  ProgressDisplay(std::FILE* stream, bool terminal, const Clock& clock);

  // Shows the progress. The rate is the server's; where it gives none, that
  // since the first update.
  void Update(const v1::Progress& progress);

  // What is said after the progress from now on: "loss 2.31".
  void SetNote(absl::string_view note);

  // Writes a line of text.
  void Line(absl::string_view text);

  // Leaves the bar as it is and goes to a new line. Idempotent.
  void Finish();

 private:
  // "120/360 items, 45.2/s, 5 s left, loss 2.31".
  std::string Describe(const v1::Progress& progress) const;
  void DrawBar(const v1::Progress& progress);

  std::FILE* const stream_;
  const bool terminal_;
  const Clock& clock_;
  bool bar_shown_ = false;
  std::optional<absl::Duration> last_line_;
  int64_t line_done_ = -1;  // that the last line told
  std::optional<absl::Duration> first_update_;
  int update_count_ = 0;
  int64_t first_done_ = 0;
  std::string note_;
  std::optional<v1::Progress> last_;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_PROGRESS_H_
