// Spans of time as people type them.
#include "client/cli/durations.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dissonance::cli {
namespace {

using ::testing::HasSubstr;

TEST(ParseSpanTest, TakesDaysHoursMinutesAndSeconds) {
  EXPECT_EQ(*ParseSpan("30d"), absl::Hours(720));
  EXPECT_EQ(*ParseSpan("12h"), absl::Hours(12));
  EXPECT_EQ(*ParseSpan("90m"), absl::Minutes(90));
  EXPECT_EQ(*ParseSpan("0s"), absl::ZeroDuration());
  EXPECT_EQ(*ParseSpan("1d12h"), absl::Hours(36));
  EXPECT_EQ(*ParseSpan("36500d"), absl::Hours(24) * 36500);
}

TEST(ParseSpanTest, RefusesWhatIsNoSpan) {
  for (const char* text : {"", "30", "d", "1.5h", "-1d", "+1d", " 1d", "1d ",
                           "1w", "1h1d", "1h2h", "1D", "1d12"}) {
    const auto span = ParseSpan(text);
    EXPECT_FALSE(span.ok()) << text;
    EXPECT_THAT(std::string(span.status().message()),
                HasSubstr("as in 30d, 12h or 1d12h"));
  }
}

TEST(ParseSpanTest, RefusesMoreThanACentury) {
  for (const char* text : {"36501d", "36500d1s", "99999999999999999999s"}) {
    EXPECT_THAT(std::string(ParseSpan(text).status().message()),
                HasSubstr("longer than 100 years"));
  }
}

TEST(DurationTest, TheProtoKeepsFractions) {
  const absl::Duration span = absl::Milliseconds(1500);
  EXPECT_EQ(ToProto(span).seconds(), 1);
  EXPECT_EQ(ToProto(span).nanos(), 500'000'000);
  EXPECT_EQ(FromProto(ToProto(span)), span);
}

}  // namespace
}  // namespace dissonance::cli
