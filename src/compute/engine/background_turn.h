// When background work has its turn although interactive requests wait: so
// seldom that over a long time it gets no more than its share of the device's,
// and never so seldom that it gets nothing. It is told durations and knows no
// clock. Not thread safe.
//
//   BackgroundTurn turn(0.1);
//   if (turn.HeldBack(step_seconds)) {
//     turn.Ran(piece_seconds, /*others_waited=*/true);
//   }
#ifndef DISSONANCE_COMPUTE_ENGINE_BACKGROUND_TURN_H_
#define DISSONANCE_COMPUTE_ENGINE_BACKGROUND_TURN_H_

namespace dissonance {

class BackgroundTurn {
 public:
  // `share` of the time, from 0 (never) to 1.
  explicit BackgroundTurn(double share) : share_(share) {}

  // Work could have been done while requests were computed for so long.
  // Returns whether it is its turn: what it is owed pays for a piece as long as
  // the last one.
  bool HeldBack(double seconds);

  // A piece was done. Pieces that nobody waited for pay off what it is owed,
  // and no more: it works off nothing in advance.
  void Ran(double seconds, bool others_waited);

 private:
  const double share_;
  double owed_seconds_ = 0.0;   // below 0: a piece took longer than its due
  double piece_seconds_ = 0.0;  // of the last one
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_BACKGROUND_TURN_H_
