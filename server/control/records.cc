#include "server/control/records.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr unsigned int kOwnerOnly = 0600;

}  // namespace

Records::Records(std::unique_ptr<Database> opened)
    : database(std::move(opened)),
      tokens(*database, Clock::Real()),
      users(*database),
      audit(*database),
      settings(*database),
      jobs(*database),
      queue(*database),
      models(*database),
      direction_store(*database),
      artifact_index(*database) {}

absl::StatusOr<std::unique_ptr<Records>> Records::Open(
    const Config& config, const DataFolder& folder) {
  ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
                   Database::Open({.data_dir = config.data_dir,
                                   .allow_upgrade = config.upgrade_database}));
  RETURN_IF_ERROR(folder.Prepare());
  auto records = std::make_unique<Records>(std::move(database));
  RETURN_IF_ERROR(
      records->tokens.EnsureOwner([&folder](absl::string_view secret) {
        return WriteFileAtomically(folder.owner_token(),
                                   absl::StrCat(secret, "\n"), kOwnerOnly);
      }));
  ASSIGN_OR_RETURN(
      records->artifacts,
      ArtifactStore::Create(config.data_dir, records->artifact_index,
                            Clock::Real()));
  ASSIGN_OR_RETURN(records->uploads,
                   ArtifactUploads::Create(config.data_dir, *records->artifacts,
                                           records->artifact_index));
  records->garbage = std::make_unique<ArtifactGarbage>(
      *records->artifacts, records->artifact_index, *records->uploads);
  records->directions = std::make_unique<DirectionCatalog>(
      records->direction_store, *records->artifacts, Clock::Real());
  ASSIGN_OR_RETURN(
      records->ledger,
      UsageLedger::Load(records->users, Clock::Real(),
                        absl::Hours(config.jobs.share_half_life_hours)));
  return records;
}

}  // namespace dissonance
