#include "client/cli/progress.h"

#include <cstdio>
#include <cstdlib>

#include "gtest/gtest.h"

namespace dissonance::cli {
namespace {

class FakeClock : public Clock {
 public:
  absl::Time Now() const override { return absl::UnixEpoch() + now_; }
  absl::Duration Monotonic() const override { return now_; }
  void Advance(absl::Duration by) { now_ += by; }

 private:
  absl::Duration now_;
};

// A stream in memory.
class ProgressTest : public ::testing::Test {
 protected:
  ~ProgressTest() override {
    std::fclose(stream_);
    std::free(text_);
  }

  std::string Written() {
    std::fflush(stream_);
    return std::string(text_, size_);
  }

  static v1::Progress Of(int64_t done, int64_t total, double rate) {
    v1::Progress progress;
    progress.set_done_count(done);
    progress.set_total_count(total);
    progress.set_unit("items");
    progress.set_rate(rate);
    return progress;
  }

  char* text_ = nullptr;
  size_t size_ = 0;
  std::FILE* stream_ = ::open_memstream(&text_, &size_);
  FakeClock clock_;
};

TEST_F(ProgressTest, StagesHaveNoRate) {
  ProgressDisplay display(stream_, /*terminal=*/false, clock_);
  v1::Progress progress = Of(1, 10, 0.5);
  progress.set_unit("stages (train 378/700 steps)");
  display.Update(progress);
  EXPECT_EQ(Written(), "progress: 1/10 stages (train 378/700 steps)\n");
}

TEST_F(ProgressTest, DrawsABarWithRateAndTimeLeftOnATerminal) {
  ProgressDisplay display(stream_, /*terminal=*/true, clock_);
  display.Update(Of(60, 240, 60));
  display.Update(Of(60, 240, 60));
  EXPECT_EQ(Written(),
            "\r\x1b[K[######------------------]  60/240 items, 60.0/s"
            "\r\x1b[K[######------------------]  60/240 items, 60.0/s");
  const size_t before = Written().size();
  display.Update(Of(120, 240, 60));
  display.Line("a word");
  display.Update(Of(240, 240, 60));
  display.Finish();
  EXPECT_EQ(Written().substr(before),
            "\r\x1b[K[############------------]  120/240 items, 60.0/s, "
            "2.0 s left\r\x1b[Ka word\n\r\x1b[K[########################]  "
            "240/240 items, 60.0/s\n");
}

TEST_F(ProgressTest, WritesALineNowAndThenElsewhere) {
  ProgressDisplay display(stream_, /*terminal=*/false, clock_);
  display.Update(Of(1, 100, 10));
  clock_.Advance(absl::Seconds(1));
  display.Update(Of(11, 100, 10));
  clock_.Advance(absl::Seconds(5));
  display.Update(Of(61, 100, 10));
  display.Update(Of(100, 100, 10));
  display.Update(Of(100, 100, 10));
  display.Finish();
  EXPECT_EQ(Written(),
            "progress: 1/100 items, 10.0/s\n"
            "progress: 61/100 items, 10.0/s, 3.9 s left\n"
            "progress: 100/100 items, 10.0/s\n");
}

TEST_F(ProgressTest, ANoteStandsBesideTheProgressAndRedrawsTheBar) {
  ProgressDisplay display(stream_, /*terminal=*/true, clock_);
  display.SetNote("before");
  display.Update(Of(60, 240, 60));
  display.SetNote("loss 2.5\x1b");
  EXPECT_EQ(Written(),
            "\r\x1b[K[######------------------]  60/240 items, 60.0/s, before"
            "\r\x1b[K[######------------------]  60/240 items, 60.0/s, loss "
            "2.5\\u001b");
}

TEST_F(ProgressTest, MeasuresTheRateWhereTheServerGivesNone) {
  ProgressDisplay display(stream_, /*terminal=*/false, clock_);
  display.Update(Of(50, 100, 0));
  clock_.Advance(absl::Seconds(10));
  display.Update(Of(70, 100, 0));
  clock_.Advance(absl::Seconds(5));
  display.Update(Of(80, 100, 0));
  EXPECT_EQ(Written(),
            "progress: 50/100 items\n"
            "progress: 70/100 items, 2.0/s\n"
            "progress: 80/100 items, 2.0/s, 10 s left\n");
}

}  // namespace
}  // namespace dissonance::cli
