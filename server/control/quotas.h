// What each user may take: what an administrator set for him, else what the
// configuration says. Thread safe. Borrows the store.
#ifndef DISSONANCE_SERVER_CONTROL_QUOTAS_H_
#define DISSONANCE_SERVER_CONTROL_QUOTAS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/admin.pb.h"
#include "server/control/config.h"
#include "src/lab/jobs/usage_ledger.h"
#include "src/lab/storage/user_store.h"

namespace dissonance {

class Quotas {
 public:
  Quotas(UserStore& users, const QuotaConfig& defaults)
      : users_(users), defaults_(defaults) {}

  // 0: no limit. Defaults alone for who is unknown.
  v1::Quota Of(absl::string_view user) const;
  v1::Quota Effective(const v1::Quota& set) const;

  // RESOURCE_EXHAUSTED, with figures, if the user has as many bytes of
  // artifacts as he may.
  absl::Status CheckArtifacts(absl::string_view user) const;
  // RESOURCE_EXHAUSTED if `use` is as much of the device as he may take in a
  // week.
  absl::Status CheckDevice(absl::string_view user,
                           const UsageLedger::Use& use) const;

 private:
  UserStore& users_;
  const QuotaConfig defaults_;
};

// INVALID_ARGUMENT for a negative number.
absl::Status CheckQuota(const v1::Quota& quota);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_QUOTAS_H_
