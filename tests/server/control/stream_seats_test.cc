#include "server/control/stream_seats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

TEST(StreamSeatsTest, AUserHasSoManyAndGetsThemBack) {
  StreamSeats seats;
  std::vector<StreamSeats::Seat> taken;
  for (int i = 0; i < StreamSeats::kMostOfUser; ++i) {
    auto seat = seats.Take("users/ada");
    ASSERT_TRUE(seat.ok()) << seat.status();
    taken.push_back(*std::move(seat));
  }
  const auto refused = seats.Take("users/ada");
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status()));
  EXPECT_THAT(refused.status().message(), HasSubstr("users/ada has 8"));
  EXPECT_TRUE(seats.Take("users/bob").ok());
  taken.pop_back();
  EXPECT_TRUE(seats.Take("users/ada").ok());
}

TEST(StreamSeatsTest, AllUsersTogetherHaveSoMany) {
  StreamSeats seats;
  std::vector<StreamSeats::Seat> taken;
  for (int i = 0; i < StreamSeats::kMost; ++i) {
    auto seat = seats.Take(absl::StrCat("users/", i));
    ASSERT_TRUE(seat.ok()) << seat.status();
    taken.push_back(*std::move(seat));
  }
  EXPECT_TRUE(absl::IsUnavailable(seats.Take("users/ada").status()));
  taken.clear();
  EXPECT_TRUE(seats.Take("users/ada").ok());
}

TEST(StreamSeatsTest, ASeatMayOutliveThem) {
  StreamSeats::Seat seat;
  {
    StreamSeats seats;
    seat = *seats.Take("users/ada");
  }
  seat.reset();
}

}  // namespace
}  // namespace dissonance
