// Everything durable: the database under its lock, the stores over it, and the
// artifacts. Made once, lives as long as the server; its parts are thread safe.
//
//   ASSIGN_OR_RETURN(auto records, Records::Open(config, folder));
//   records->jobs.Get(...);
#ifndef DISSONANCE_SERVER_CONTROL_RECORDS_H_
#define DISSONANCE_SERVER_CONTROL_RECORDS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "server/control/config.h"
#include "server/control/data_folder.h"
#include "src/lab/artifacts/artifact_garbage.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/artifacts/artifact_uploads.h"
#include "src/lab/directions/direction_catalog.h"
#include "src/lab/jobs/usage_ledger.h"
#include "src/lab/storage/artifact_index.h"
#include "src/lab/storage/audit_log.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/direction_store.h"
#include "src/lab/storage/job_queue.h"
#include "src/lab/storage/job_store.h"
#include "src/lab/storage/model_store.h"
#include "src/lab/storage/settings_store.h"
#include "src/lab/storage/token_store.h"
#include "src/lab/storage/user_store.h"

namespace dissonance {

struct Records {
  // Refuses as Database::Open does. The first start writes the owner's token.
  static absl::StatusOr<std::unique_ptr<Records>> Open(
      const Config& config, const DataFolder& folder);

  explicit Records(std::unique_ptr<Database> opened);

  const std::unique_ptr<Database> database;
  TokenStore tokens;
  UserStore users;
  AuditLog audit;
  SettingsStore settings;
  JobStore jobs;
  JobQueue queue;
  ModelStore models;
  DirectionStore direction_store;
  ArtifactIndex artifact_index;
  std::unique_ptr<ArtifactStore> artifacts;
  std::unique_ptr<ArtifactUploads> uploads;
  std::unique_ptr<ArtifactGarbage> garbage;
  std::unique_ptr<DirectionCatalog> directions;
  std::unique_ptr<UsageLedger> ledger;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_RECORDS_H_
