#include "src/compute/engine/cache_admission.h"

#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "src/compute/interp/intervention.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

// Slabs that the caches' bytes are taken in, where they are taken in slabs.
constexpr int64_t kSlabs = 4;

// Names the network that keys and values come from: everything that their
// bits depend on beside the tokens.
std::string NetworkName(const EngineVariant& variant) {
  return absl::StrCat(
      variant.model->digest(), " ", c10::toString(variant.model->dtype()), " ",
      variant.model->device().str(), " ",
      variant.adapter == nullptr ? "" : variant.adapter->digest());
}

// The beginning of a sequence's prompt that any other may share.
absl::Span<const int32_t> Shareable(const EngineEntry& entry) {
  if (entry.variant.dropout.has_value()) return {};
  absl::Span<const int32_t> prefix = entry.sequence->SharedPrefix();
  if (entry.variant.interventions != nullptr) {
    const int64_t unchanged = FirstChanged(*entry.variant.interventions,
                                           entry.sequence->prompt_count());
    prefix = prefix.subspan(0, static_cast<size_t>(unchanged));
  }
  return prefix;
}

}  // namespace

CacheAdmission::CacheAdmission(const EngineOptions& options)
    : limit_bytes_(options.kv_cache_bytes),
      pools_(options.kv_cache_bytes / kSlabs),
      prefixes_(options.prefix_cache_bytes, options.attention_tile) {}

absl::StatusOr<bool> CacheAdmission::Admit(EngineEntry& entry, int64_t limit,
                                           const Entries& entries) {
  const absl::Span<const int32_t> prefix = Shareable(entry);
  const std::string network = NetworkName(entry.variant);
  const int64_t held = prefixes_.Held(network, prefix);
  const bool needs_none = entry.sequence->fits_one_step(limit);
  if (held == 0 && needs_none) return true;
  if (!Reserve(entry)) {
    if (needs_none) return true;
    Reclaim(entry.group == nullptr ? entry.cache_bytes : entry.group->bytes,
            entries);
    if (!Reserve(entry)) return false;
  }
  const absl::Status made = CatchTorch("key/value cache", [&] {
    std::unique_ptr<KvCache> cache =
        pools_.MakeCache(entry.variant.model, entry.sequence->cache_tokens());
    prefixes_.Restore(network, prefix, *cache);
    entry.cache = std::move(cache);
  });
  if (made.ok()) {
    if (entry.group != nullptr) reserved_bytes_ -= entry.cache_bytes;
    cache_bytes_ += entry.cache_bytes;
    prefix_hit_token_count_ += held;
    if (held > 0) entry.sequence->SkipPrefix(held);
    return true;
  }
  prefixes_.Clear();
  if (needs_none) return true;
  int64_t own_bytes = 0;
  for (const EngineEntry* own : GroupOf(entry, entries)) {
    if (own->cache != nullptr) own_bytes += own->cache_bytes;
  }
  if (cache_bytes_ == own_bytes) return made;
  return false;
}

CacheAdmission::Members CacheAdmission::GroupOf(EngineEntry& entry,
                                                const Entries& entries) {
  if (entry.group == nullptr) return {&entry};
  Members members;
  for (const std::unique_ptr<EngineEntry>& other : entries) {
    if (other->group == entry.group && !other->ended) {
      members.push_back(other.get());
    }
  }
  return members;
}

bool CacheAdmission::Reserve(const EngineEntry& entry) {
  CacheGroup* group = entry.group.get();
  if (group != nullptr && group->is_reserved) return true;
  const int64_t needed = group == nullptr ? entry.cache_bytes : group->bytes;
  if (!HasRoom(needed)) return false;
  if (group != nullptr) {
    group->is_reserved = true;
    reserved_bytes_ += needed;
  }
  return true;
}

void CacheAdmission::Reclaim(int64_t bytes, const Entries& entries) {
  Members idle;
  int64_t idle_bytes = 0;
  for (auto it = entries.rbegin(); it != entries.rend(); ++it) {
    EngineEntry& entry = **it;
    const bool holds = entry.cache != nullptr ||
                       (entry.group != nullptr && entry.group->is_reserved);
    if (entry.ended || entry.is_ready || !holds) continue;
    const Members group = GroupOf(entry, entries);
    if (absl::c_any_of(group, [](auto* own) { return own->is_ready; }))
      continue;
    idle_bytes += entry.cache_bytes;
    idle.push_back(&entry);
  }
  if (!HasRoom(bytes - idle_bytes)) return;
  for (EngineEntry* entry : idle) {
    if (HasRoom(bytes)) return;
    TakeBack(GroupOf(*entry, entries));
  }
}

void CacheAdmission::TakeBack(const Members& group) {
  CacheGroup* shared = group.front()->group.get();
  int64_t bytes = 0;
  for (EngineEntry* entry : group) {
    bytes += entry->cache_bytes;
    if (entry->cache != nullptr) {
      entry->cache.reset();
      entry->sequence->Rewind();
      cache_bytes_ -= entry->cache_bytes;
      ++reclaimed_cache_count_;
    } else if (shared != nullptr && shared->is_reserved) {
      reserved_bytes_ -= entry->cache_bytes;
    }
  }
  if (shared != nullptr) *shared = {.bytes = bytes};
}

void CacheAdmission::KeepPrefix(EngineEntry& entry) {
  if (entry.has_kept_prefix || entry.cache == nullptr ||
      entry.cache->length() < entry.sequence->prompt_count()) {
    return;
  }
  entry.has_kept_prefix = true;
  const absl::Status kept = CatchTorch("prefix", [&] {
    prefixes_.Keep(NetworkName(entry.variant), Shareable(entry), *entry.cache);
  });
  if (!kept.ok()) prefixes_.Clear();
}

bool CacheAdmission::ForgetPrefixes() {
  const bool held_some = prefixes_.bytes() > 0;
  prefixes_.Clear();
  return held_some;
}

void CacheAdmission::Release(EngineEntry& entry) {
  if (entry.cache != nullptr) {
    cache_bytes_ -= entry.cache_bytes;
  } else if (entry.group != nullptr) {
    // What it would have got.
    (entry.group->is_reserved ? reserved_bytes_ : entry.group->bytes) -=
        entry.cache_bytes;
  }
  entry.cache.reset();
}

void CacheAdmission::Count(EngineStats& stats) const {
  stats.kv_cache_bytes = cache_bytes_;
  stats.prefix_bytes = prefixes_.bytes();
  stats.prefix_hit_token_count = prefix_hit_token_count_;
  stats.reclaimed_cache_count = reclaimed_cache_count_;
}

}  // namespace dissonance
