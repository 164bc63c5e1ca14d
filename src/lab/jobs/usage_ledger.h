// Who used how much of the device: for the fair share, and for the quota of a
// week. Kept in memory, loaded from the store's hours; what jobs spend is
// stored with their records, what other calls spend when Flush is called.
// Decay goes by monotonic time, so a jump of the clock changes no share. Thread
// safe. Borrows store and clock.
//
//   ASSIGN_OR_RETURN(auto ledger, UsageLedger::Load(users, clock, half_life));
//   ledger->AddStored("ada", 1.5, 4096);   // a job's; its record stores it
//   ledger->AddUnstored("bob", 0.2);       // stored by the next Flush
//   double share = ledger->Of("ada").decayed_seconds;
#ifndef DISSONANCE_LAB_JOBS_USAGE_LEDGER_H_
#define DISSONANCE_LAB_JOBS_USAGE_LEDGER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "src/base/clock.h"
#include "src/lab/storage/user_store.h"

namespace dissonance {

class UsageLedger {
 public:
  struct Use {
    // Device seconds, halved for each half-life that passed since.
    double decayed_seconds = 0;
    // Of the last seven days.
    double week_seconds = 0;
    int64_t week_tokens = 0;
  };

  // Hours that count no more go from the store. REQUIRES: half_life > 0.
  static absl::StatusOr<std::unique_ptr<UsageLedger>> Load(
      UserStore& store, const Clock& clock, absl::Duration half_life);

  void AddStored(absl::string_view user, double device_seconds,
                 int64_t token_count) ABSL_LOCKS_EXCLUDED(mutex_);
  void AddUnstored(absl::string_view user, double device_seconds)
      ABSL_LOCKS_EXCLUDED(mutex_);

  Use Of(absl::string_view user) ABSL_LOCKS_EXCLUDED(mutex_);
  // Everybody with any use.
  std::map<std::string, Use> All() ABSL_LOCKS_EXCLUDED(mutex_);

  // Stores what is not stored yet, and forgets hours that count no more. What
  // could not be stored is tried again the next time.
  absl::Status Flush() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Hour {
    double device_seconds = 0;
    int64_t token_count = 0;
  };
  struct User {
    double decayed = 0;
    absl::Duration as_of;          // monotonic
    std::map<int64_t, Hour> week;  // by hour
  };

  UsageLedger(UserStore& store, const Clock& clock, absl::Duration half_life)
      : store_(store), clock_(clock), half_life_(half_life) {}

  void Add(absl::string_view user, double device_seconds, int64_t token_count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  double Decayed(const User& user) const;
  Use UseOf(const User& user) const;

  UserStore& store_;
  const Clock& clock_;
  const absl::Duration half_life_;
  absl::Mutex mutex_;
  std::map<std::string, User, std::less<>> users_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, double, std::less<>> unstored_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_USAGE_LEDGER_H_
