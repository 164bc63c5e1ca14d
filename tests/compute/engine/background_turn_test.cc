// Shares of time, told in made-up seconds.
#include "src/compute/engine/background_turn.h"

#include <gtest/gtest.h>

namespace dissonance {
namespace {

// Of `seconds` of requests in steps, what pieces got on top.
double PieceSeconds(BackgroundTurn& turn, double seconds, double step,
                    double piece) {
  double got = 0.0;
  for (double done = 0.0; done < seconds; done += step) {
    if (!turn.HeldBack(step)) continue;
    turn.Ran(piece, /*others_waited=*/true);
    got += piece;
  }
  return got;
}

TEST(BackgroundTurnTest, GetsItsShareWhateverPiecesTake) {
  for (const double piece : {0.01, 0.3, 7.0}) {
    BackgroundTurn turn(0.1);
    const double got = PieceSeconds(turn, 900.0, 0.02, piece);
    EXPECT_NEAR(got / (900.0 + got), 0.1, 0.01) << piece;
  }
}

TEST(BackgroundTurnTest, GetsHalfBesideAnEqual) {
  BackgroundTurn turn(0.5);
  EXPECT_NEAR(PieceSeconds(turn, 100.0, 0.02, 1.0), 100.0, 2.0);
}

TEST(BackgroundTurnTest, WaitsUntilAPieceIsPaidFor) {
  BackgroundTurn turn(0.1);
  turn.Ran(2.0, /*others_waited=*/false);
  int steps = 0;
  while (!turn.HeldBack(1.0)) ++steps;
  EXPECT_EQ(steps, 17);  // 18 seconds of requests, 2 of a piece
}

TEST(BackgroundTurnTest, FreePiecesPayOffWhatIsOwedButNothingInAdvance) {
  BackgroundTurn turn(0.1);
  turn.Ran(2.0, /*others_waited=*/false);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(turn.HeldBack(1.0));
  for (int i = 0; i < 1000; ++i) turn.Ran(2.0, /*others_waited=*/false);
  int steps = 0;
  while (!turn.HeldBack(1.0)) ++steps;
  EXPECT_EQ(steps, 17);
}

TEST(BackgroundTurnTest, FreePiecesDoNotExcuseAPieceThatWasTooLong) {
  BackgroundTurn turn(0.1);
  turn.Ran(1.0, /*others_waited=*/false);
  while (!turn.HeldBack(1.0)) {
  }
  turn.Ran(101.0, /*others_waited=*/true);  // 90 seconds too long
  turn.Ran(1.0, /*others_waited=*/false);
  int steps = 0;
  while (!turn.HeldBack(1.0)) ++steps;
  EXPECT_NEAR(steps, 908, 2);
}

TEST(BackgroundTurnTest, WithoutAShareItHasNoTurn) {
  BackgroundTurn turn(0.0);
  EXPECT_EQ(PieceSeconds(turn, 1000.0, 1.0, 1.0), 0.0);
}

}  // namespace
}  // namespace dissonance
