#include "server/control/stream_seats.h"

#include "absl/strings/str_cat.h"

namespace dissonance {

absl::StatusOr<StreamSeats::Seat> StreamSeats::Take(const std::string& user) {
  const absl::MutexLock lock(&taken_->mutex);
  const auto own = taken_->by_user.find(user);
  if (own != taken_->by_user.end() && own->second >= kMostOfUser) {
    return absl::ResourceExhaustedError(
        absl::StrCat(user, " has ", kMostOfUser,
                     " streams and downloads of the dashboard open: close some "
                     "of its pages"));
  }
  if (taken_->count >= kMost) {
    return absl::UnavailableError(
        absl::StrCat("the dashboard sends ", kMost,
                     " streams and downloads already; try again later"));
  }
  ++taken_->count;
  ++taken_->by_user[user];
  // Its end is all that it is for.
  return Seat(nullptr, [taken = taken_, user](const void*) {
    const absl::MutexLock end(&taken->mutex);
    --taken->count;
    const auto seats = taken->by_user.find(user);
    if (--seats->second == 0) taken->by_user.erase(seats);
  });
}

}  // namespace dissonance
