#include "server/control/housekeeper.h"

#include <set>
#include <utility>

#include "server/control/adapter_files.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr absl::Duration kStep = absl::Seconds(1);
constexpr absl::Duration kStoreUseEvery = absl::Seconds(10);
// An adapter that is being registered may need its folder still.
constexpr absl::Duration kFolderAge = absl::Hours(1);

}  // namespace

Housekeeper::Housekeeper(Parts parts, const ArtifactsConfig& artifacts)
    : parts_(std::move(parts)), artifacts_(artifacts) {}

Housekeeper::~Housekeeper() { Stop(); }

void Housekeeper::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void Housekeeper::Stop() {
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
    wakes_.SignalAll();
  }
  if (thread_.joinable()) thread_.join();
  StoreUse();
}

void Housekeeper::Loop() {
  const Clock& clock = Clock::Real();
  absl::Duration next_store = clock.Monotonic() + kStoreUseEvery;
  absl::Duration next_collection =
      clock.Monotonic() + absl::Hours(artifacts_.collect_hours);
  while (true) {
    {
      const absl::MutexLock lock(&mutex_);
      if (!stopping_) wakes_.WaitWithTimeout(mutex_, kStep);
      if (stopping_) return;
    }
    EndStreamsOfEndedTokens();
    if (clock.Monotonic() >= next_store) {
      StoreUse();
      next_store = clock.Monotonic() + kStoreUseEvery;
    }
    if (clock.Monotonic() < next_collection) continue;
    const absl::Status collected = CollectGarbage(/*dry_run=*/false).status();
    if (!collected.ok()) {
      Log(LogLevel::kError, "garbage was not collected",
          {{"why", collected.message()}});
    }
    next_collection = clock.Monotonic() + absl::Hours(artifacts_.collect_hours);
  }
}

void Housekeeper::EndStreamsOfEndedTokens() {
  for (OpenCalls* const calls : parts_.streams) {
    for (const std::string& token : calls->Tokens()) {
      const absl::Status valid = parts_.records.tokens.CheckValid(token);
      if (!absl::IsUnauthenticated(valid)) continue;
      calls->EndOf(token, valid);
    }
  }
}

void Housekeeper::StoreUse() {
  const absl::Status stored = parts_.records.ledger->Flush();
  if (stored.ok()) return;
  Log(LogLevel::kError, "use of the device was not stored",
      {{"why", stored.message()}});
}

absl::StatusOr<GarbageReport> Housekeeper::CollectGarbage(bool dry_run) {
  GarbagePolicy policy;
  if (artifacts_.unnamed_days > 0) {
    policy.max_age = absl::Hours(24 * artifacts_.unnamed_days);
  }
  policy.max_total_bytes = artifacts_.max_bytes;
  const absl::Time now = Clock::Real().Now();
  ASSIGN_OR_RETURN(const GarbageReport report,
                   parts_.records.garbage->Collect(policy, now, dry_run));
  if (dry_run) return report;
  RETURN_IF_ERROR(RemoveUnusedAdapterFolders(
      parts_.records.models, parts_.data_dir, now - kFolderAge));
  Log(LogLevel::kInfo, "collected garbage",
      {{"removed", report.removed.count},
       {"removed_bytes", report.removed.bytes},
       {"kept", report.kept.count},
       {"kept_bytes", report.kept.bytes}});
  return report;
}

}  // namespace dissonance
