// Removes what nobody needs: artifacts that no job, adapter, direction or pin
// keeps, by age and when all take too much; files that a crash left without a
// row; and uploads that nobody went on with. Thread safe: one collection at a
// time. Borrows its parts.
//
//   ArtifactGarbage garbage(store, index, uploads);
//   ASSIGN_OR_RETURN(GarbageReport report,
//                    garbage.Collect({.max_age = absl::Hours(24 * 90)},
//                                    clock.Now(), /*dry_run=*/false));
#ifndef DISSONANCE_LAB_ARTIFACTS_ARTIFACT_GARBAGE_H_
#define DISSONANCE_LAB_ARTIFACTS_ARTIFACT_GARBAGE_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/artifacts/artifact_uploads.h"
#include "src/lab/storage/artifact_index.h"

namespace dissonance {

struct GarbagePolicy {
  // What nothing keeps goes when it was made longer ago.
  absl::Duration max_age = absl::InfiniteDuration();
  // While all artifacts take more, what nothing keeps goes, oldest first. 0:
  // no limit.
  int64_t max_total_bytes = 0;
  // Nothing goes that was stored since: a job or an adapter may be about to
  // name it.
  absl::Duration min_age = absl::Hours(1);
};

struct GarbageReport {
  ArtifactTotals removed;
  ArtifactTotals kept;
  // Files without a row and unfinished uploads that were removed.
  ArtifactTotals leftovers;
};

class ArtifactGarbage {
 public:
  ArtifactGarbage(ArtifactStore& store, ArtifactIndex& index,
                  ArtifactUploads& uploads)
      : store_(store), index_(index), uploads_(uploads) {}

  // Works in steps of ArtifactIndex::kBatch artifacts, so that others wait for
  // milliseconds. `now` is wall time. A dry run says what would go.
  absl::StatusOr<GarbageReport> Collect(const GarbagePolicy& policy,
                                        absl::Time now, bool dry_run)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::StatusOr<ArtifactTotals> CollectArtifacts(const GarbagePolicy& policy,
                                                  absl::Time now,
                                                  int64_t total_bytes,
                                                  bool dry_run);
  absl::StatusOr<ArtifactTotals> CollectFiles(absl::Time stored_before,
                                              bool dry_run);

  ArtifactStore& store_;
  ArtifactIndex& index_;
  ArtifactUploads& uploads_;
  absl::Mutex mutex_;  // held by a collection
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ARTIFACTS_ARTIFACT_GARBAGE_H_
