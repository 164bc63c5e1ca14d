#include "client/cli/progress.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/output.h"

namespace dissonance::cli {
namespace {

constexpr int kBarWidth = 24;
constexpr absl::Duration kLineInterval = absl::Seconds(5);
// The first updates' rates hold what happens once, e.g. warming up.
constexpr int kUpdatesBeforeEstimate = 3;
constexpr char kEraseLine[] = "\r\x1b[K";

std::string Bar(const v1::Progress& progress) {
  const double share =
      progress.total_count() > 0
          ? std::clamp(static_cast<double>(progress.done_count()) /
                           static_cast<double>(progress.total_count()),
                       0.0, 1.0)
          : 0.0;
  const int filled = static_cast<int>(share * kBarWidth);
  return absl::StrCat("[", std::string(filled, '#'),
                      std::string(kBarWidth - filled, '-'), "]");
}

}  // namespace

ProgressDisplay::ProgressDisplay(std::FILE* stream, bool terminal,
                                 const Clock& clock)
    : stream_(stream), terminal_(terminal), clock_(clock) {}

std::string ProgressDisplay::Describe(const v1::Progress& progress) const {
  std::string out = absl::StrCat(
      progress.done_count(), "/", progress.total_count(), " ",
      progress.unit().empty() ? "steps" : Printable(progress.unit()));
  // Stages of a pipeline are too unlike for a rate.
  if (absl::StartsWith(progress.unit(), "stages")) {
    return note_.empty() ? out : absl::StrCat(out, ", ", Printable(note_));
  }
  double rate = progress.rate();
  const absl::Duration elapsed =
      clock_.Monotonic() - first_update_.value_or(clock_.Monotonic());
  if (rate <= 0 && elapsed > absl::ZeroDuration()) {
    rate = static_cast<double>(progress.done_count() - first_done_) /
           absl::ToDoubleSeconds(elapsed);
  }
  if (rate > 0) {
    absl::StrAppendFormat(&out, ", %.1f/s", rate);
    const int64_t left = progress.total_count() - progress.done_count();
    if (left > 0 && update_count_ >= kUpdatesBeforeEstimate) {
      absl::StrAppend(
          &out, ", ",
          HumanDuration(absl::Seconds(static_cast<double>(left) / rate)),
          " left");
    }
  }
  return note_.empty() ? out : absl::StrCat(out, ", ", Printable(note_));
}

void ProgressDisplay::DrawBar(const v1::Progress& progress) {
  absl::FPrintF(stream_, "%s%s  %s", kEraseLine, Bar(progress),
                Describe(progress));
  std::fflush(stream_);
  bar_shown_ = true;
}

void ProgressDisplay::SetNote(absl::string_view note) {
  note_ = std::string(note);
  if (terminal_ && last_.has_value()) DrawBar(*last_);
}

void ProgressDisplay::Update(const v1::Progress& progress) {
  const absl::Duration now = clock_.Monotonic();
  ++update_count_;
  if (!first_update_.has_value()) {
    first_update_ = now;
    first_done_ = progress.done_count();
  }
  last_ = progress;
  if (terminal_) return DrawBar(progress);
  const bool complete = progress.done_count() >= progress.total_count();
  if (complete && line_done_ == progress.done_count()) return;
  if (!complete && last_line_.has_value() &&
      now - *last_line_ < kLineInterval) {
    return;
  }
  last_line_ = now;
  line_done_ = progress.done_count();
  absl::FPrintF(stream_, "progress: %s\n", Describe(progress));
}

void ProgressDisplay::Line(absl::string_view text) {
  if (bar_shown_) absl::FPrintF(stream_, "%s", kEraseLine);
  bar_shown_ = false;
  absl::FPrintF(stream_, "%s\n", Printable(text));
  std::fflush(stream_);
}

void ProgressDisplay::Finish() {
  if (bar_shown_) absl::FPrintF(stream_, "\n");
  bar_shown_ = false;
  std::fflush(stream_);
}

}  // namespace dissonance::cli
