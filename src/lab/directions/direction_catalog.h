// Directions that have a name: makes, finds, lists, compares and deletes them
// for a viewer. A private one of another user's does not exist for him. Thread
// safe. Borrows its parts.
//
//   DirectionCatalog catalog(store, artifacts, clock);
//   ASSIGN_OR_RETURN(v1::Direction made,
//                    catalog.Create({.user = "ada"}, given));
//   ASSIGN_OR_RETURN(v1::Direction same,
//                    catalog.Get({.user = "ada"}, "directions/truth"));
#ifndef DISSONANCE_LAB_DIRECTIONS_DIRECTION_CATALOG_H_
#define DISSONANCE_LAB_DIRECTIONS_DIRECTION_CATALOG_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dissonance/v1/probes.pb.h"
#include "src/base/clock.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/storage/direction_store.h"
#include "src/lab/storage/viewer.h"

namespace dissonance {

class DirectionCatalog {
 public:
  // Vectors that one comparison takes.
  static constexpr int kComparedLimit = 500;

  DirectionCatalog(DirectionStore& store, ArtifactStore& artifacts,
                   const Clock& clock)
      : store_(store), artifacts_(artifacts), clock_(clock) {}

  // Whether a direction may get the name: INVALID_ARGUMENT for one that none
  // can have; ALREADY_EXISTS if it is taken, also by one that is hidden.
  absl::Status CheckFree(const std::string& name);
  // Stores a direction that has name, model, method, source_json, shared and
  // vectors, as the owner's; returns it complete. Fails as CheckFree does;
  // INVALID_ARGUMENT for vectors as NormalizeVectors has it, and for a source
  // that is no JSON object; RESOURCE_EXHAUSTED as ArtifactStore::Put has it.
  absl::StatusOr<v1::Direction> Create(const ArtifactOwner& owner,
                                       v1::Direction direction);

  // With its vectors, by its name or the last part of it. NOT_FOUND, worded the
  // same whether there is none or it is hidden; here and below. DATA_LOSS if
  // its file is damaged.
  absl::StatusOr<v1::Direction> Get(const Viewer& viewer,
                                    const std::string& name);
  // Those that the viewer sees, without vectors. page_size 0: 100, at most
  // 1000; INVALID_ARGUMENT if it is negative.
  absl::StatusOr<v1::ListDirectionsResponse> List(
      const Viewer& viewer, const v1::ListDirectionsRequest& request);
  // PERMISSION_DENIED for what is only shared with the viewer.
  absl::Status Delete(const Viewer& viewer, const std::string& name);
  // In float64. INVALID_ARGUMENT for fewer than two vectors, or more than
  // kComparedLimit.
  absl::StatusOr<v1::CompareDirectionsResponse> Compare(
      const Viewer& viewer, absl::Span<const std::string> names);

 private:
  // Without its vectors.
  absl::StatusOr<v1::Direction> Find(const Viewer& viewer,
                                     const std::string& name);

  DirectionStore& store_;
  ArtifactStore& artifacts_;
  const Clock& clock_;
};

// INVALID_ARGUMENT unless it is "directions/" and 1 to 64 letters, digits, "-",
// "_" and ".".
absl::Status CheckDirectionName(absl::string_view name);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DIRECTIONS_DIRECTION_CATALOG_H_
