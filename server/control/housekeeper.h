// What has to be done now and then: ends streams whose token has ended, stores
// what calls used of the device, collects garbage. One thread of its own.
// Thread safe. Borrows its parts.
//
//   Housekeeper keeper(parts, config);
//   keeper.Start();
#ifndef DISSONANCE_SERVER_CONTROL_HOUSEKEEPER_H_
#define DISSONANCE_SERVER_CONTROL_HOUSEKEEPER_H_

#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/control/config.h"
#include "server/control/open_calls.h"
#include "server/control/records.h"
#include "src/base/steady_wait.h"

namespace dissonance {

class Housekeeper {
 public:
  struct Parts {
    Records& records;
    std::vector<OpenCalls*> streams;
    std::string data_dir;
  };

  Housekeeper(Parts parts, const ArtifactsConfig& artifacts);
  // Stops, after storing what was used.
  ~Housekeeper();

  void Start();
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends streams whose token has ended, UNAUTHENTICATED.
  void EndStreamsOfEndedTokens();
  // By the policy of the configuration.
  absl::StatusOr<GarbageReport> CollectGarbage(bool dry_run);

 private:
  void Loop();
  void StoreUse();

  const Parts parts_;
  const ArtifactsConfig artifacts_;
  absl::Mutex mutex_;
  SteadyCondVar wakes_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_HOUSEKEEPER_H_
