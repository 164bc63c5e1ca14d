// Directions by name: all that is known of each but its vectors, which are in
// the artifact that it names. Thread safe. Borrows the database.
//
//   RETURN_IF_ERROR(directions.Create(direction));
//   ASSIGN_OR_RETURN(v1::Direction same, directions.Get("directions/truth"));
#ifndef DISSONANCE_LAB_STORAGE_DIRECTION_STORE_H_
#define DISSONANCE_LAB_STORAGE_DIRECTION_STORE_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/probes.pb.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/viewer.h"

namespace dissonance {

class DirectionStore {
 public:
  explicit DirectionStore(Database& database) : database_(database) {}

  // Durably adds it, without its vectors. ALREADY_EXISTS if there is one of
  // that name; NOT_FOUND if its artifact is not stored. The artifact stays as
  // long as it does. REQUIRES: the owner is "users/USER".
  absl::Status Create(const v1::Direction& direction);
  // NOT_FOUND if unknown, here and below.
  absl::StatusOr<v1::Direction> Get(absl::string_view name);
  // Those that the viewer sees, his and shared ones, by name, after `after`, at
  // most `limit`.
  absl::StatusOr<std::vector<v1::Direction>> List(const Viewer& viewer,
                                                  absl::string_view after,
                                                  int limit);
  // Deletes this one; not another that got its name since it was read.
  absl::Status Delete(const v1::Direction& direction);

 private:
  Database& database_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_DIRECTION_STORE_H_
