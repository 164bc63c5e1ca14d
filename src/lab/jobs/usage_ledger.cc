#include "src/lab/jobs/usage_ledger.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr int64_t kWeekHours = 7 * 24;
// What is left after so many half-lives is less than a millionth.
constexpr double kHalfLivesKept = 20;

}  // namespace

absl::StatusOr<std::unique_ptr<UsageLedger>> UsageLedger::Load(
    UserStore& store, const Clock& clock, absl::Duration half_life) {
  std::unique_ptr<UsageLedger> ledger(new UsageLedger(store, clock, half_life));
  const int64_t now = HourOf(clock.Now());
  const int64_t kept =
      std::max(kWeekHours, absl::ToInt64Hours(half_life * kHalfLivesKept));
  RETURN_IF_ERROR(store.ForgetUseBefore(now - kept));
  ASSIGN_OR_RETURN(const std::vector<HourOfUse> hours,
                   store.UseSince(now - kept));
  const absl::MutexLock lock(&ledger->mutex_);
  for (const HourOfUse& used : hours) {
    User& user = ledger->users_[used.user];
    user.as_of = clock.Monotonic();
    // An hour of the future is one that a clock set back has left.
    const int64_t age = std::max<int64_t>(now - used.hour, 0);
    user.decayed += used.device_seconds *
                    std::exp2(-absl::FDivDuration(absl::Hours(age), half_life));
    user.week[used.hour] = {used.device_seconds, used.token_count};
  }
  return ledger;
}

double UsageLedger::Decayed(const User& user) const {
  return user.decayed * std::exp2(-absl::FDivDuration(
                            clock_.Monotonic() - user.as_of, half_life_));
}

void UsageLedger::Add(absl::string_view name, double device_seconds,
                      int64_t token_count) {
  auto found = users_.find(name);
  if (found == users_.end()) {
    found = users_.emplace(std::string(name), User()).first;
    found->second.as_of = clock_.Monotonic();
  }
  User& user = found->second;
  user.decayed = Decayed(user) + device_seconds;
  user.as_of = clock_.Monotonic();
  Hour& hour = user.week[HourOf(clock_.Now())];
  hour.device_seconds += device_seconds;
  hour.token_count += token_count;
}

void UsageLedger::AddStored(absl::string_view user, double device_seconds,
                            int64_t token_count) {
  const absl::MutexLock lock(&mutex_);
  Add(user, device_seconds, token_count);
}

void UsageLedger::AddUnstored(absl::string_view user, double device_seconds) {
  const absl::MutexLock lock(&mutex_);
  Add(user, device_seconds, 0);
  unstored_[std::string(user)] += device_seconds;
}

UsageLedger::Use UsageLedger::UseOf(const User& user) const {
  Use use = {.decayed_seconds = Decayed(user)};
  const int64_t first = HourOf(clock_.Now()) - kWeekHours;
  for (auto hour = user.week.upper_bound(first); hour != user.week.end();
       ++hour) {
    use.week_seconds += hour->second.device_seconds;
    use.week_tokens += hour->second.token_count;
  }
  return use;
}

UsageLedger::Use UsageLedger::Of(absl::string_view user) {
  const absl::MutexLock lock(&mutex_);
  const auto found = users_.find(user);
  return found == users_.end() ? Use() : UseOf(found->second);
}

std::map<std::string, UsageLedger::Use> UsageLedger::All() {
  const absl::MutexLock lock(&mutex_);
  std::map<std::string, Use> all;
  for (const auto& [name, user] : users_) all[name] = UseOf(user);
  return all;
}

absl::Status UsageLedger::Flush() {
  const int64_t now = HourOf(clock_.Now());
  std::vector<HourOfUse> hours;
  {
    const absl::MutexLock lock(&mutex_);
    for (const auto& [user, seconds] : unstored_) {
      hours.push_back({.user = user, .hour = now, .device_seconds = seconds});
    }
    unstored_.clear();
    for (auto& [name, user] : users_) {
      user.week.erase(user.week.begin(),
                      user.week.lower_bound(now - kWeekHours));
    }
  }
  if (hours.empty()) return absl::OkStatus();
  const absl::Status stored = store_.AddUse(hours);
  if (stored.ok()) return stored;
  const absl::MutexLock lock(&mutex_);
  for (const HourOfUse& hour : hours) {
    unstored_[hour.user] += hour.device_seconds;
  }
  return stored;
}

}  // namespace dissonance
