#include "src/compute/engine/cache_admission.h"

#include <set>
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
// Of what is kept of prompts, trunks get this part at most.
constexpr int64_t kTrunkPart = 4;

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

TrunkKey KeyOf(const EngineEntry& entry, const StepWork& work) {
  return {.network = NetworkName(entry.variant),
          .tokens = work.tokens,
          .tree_parents = work.tree_parents};
}

}  // namespace

CacheAdmission::CacheAdmission(const EngineOptions& options)
    : limit_bytes_(options.kv_cache_bytes),
      reclaim_after_(options.reclaim_seconds),
      pools_(options.kv_cache_bytes / kSlabs),
      prefixes_(
          options.prefix_cache_bytes - options.prefix_cache_bytes / kTrunkPart,
          options.attention_tile),
      trunks_(options.prefix_cache_bytes / kTrunkPart) {}

absl::StatusOr<bool> CacheAdmission::Admit(EngineEntry& entry, int64_t limit,
                                           const Entries& entries) {
  const absl::Span<const int32_t> prefix = Shareable(entry);
  const std::string network = NetworkName(entry.variant);
  const int64_t held = prefixes_.Held(network, prefix);
  const bool needs_none = entry.sequence->fits_one_step(limit);
  if (held == 0 && needs_none) {
    if (trunks_.empty()) return true;
    entry.first_block = TrunkFor(entry, entry.sequence->Next(limit)).block;
    return true;
  }
  if (!Reserve(entry)) {
    if (needs_none) return true;
    Reclaim(entry.group == nullptr ? entry.cache_bytes : entry.group->bytes,
            entries);
    if (!Reserve(entry)) return false;
  }
  const auto make = [&] {
    return CatchTorch("key/value cache", [&] {
      std::unique_ptr<KvCache> cache =
          pools_.MakeCache(entry.variant.model, entry.sequence->cache_tokens());
      prefixes_.Restore(network, prefix, *cache);
      entry.cache = std::move(cache);
    });
  };
  absl::Status made = make();
  if (!made.ok()) {
    ForgetPrefixes();
    if (needs_none) return true;
    if (ReclaimAll(entries)) made = make();
  }
  if (made.ok()) {
    if (entry.group != nullptr) reserved_bytes_ -= entry.cache_bytes;
    cache_bytes_ += entry.cache_bytes;
    const int64_t taken = entry.cache->length();
    prefix_hit_token_count_ += taken;
    if (taken > 0) entry.sequence->SkipPrefix(taken);
    return true;
  }
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

CacheAdmission::Members CacheAdmission::Idle(const Entries& entries) const {
  const auto now = std::chrono::steady_clock::now();
  const auto is_idle = [&](const EngineEntry* own) {
    return own->unready_since.has_value() && own->sequence->can_rewind() &&
           now - *own->unready_since >= reclaim_after_;
  };
  Members idle;
  for (auto it = entries.rbegin(); it != entries.rend(); ++it) {
    EngineEntry& entry = **it;
    const bool holds = entry.cache != nullptr ||
                       (entry.group != nullptr && entry.group->is_reserved);
    if (holds && !entry.ended && is_idle(&entry) &&
        absl::c_all_of(GroupOf(entry, entries), is_idle)) {
      idle.push_back(&entry);
    }
  }
  return idle;
}

void CacheAdmission::Reclaim(int64_t bytes, const Entries& entries) {
  const Members idle = Idle(entries);
  int64_t idle_bytes = 0;
  for (const EngineEntry* entry : idle) idle_bytes += entry->cache_bytes;
  if (!HasRoom(bytes - idle_bytes)) return;
  for (EngineEntry* entry : idle) {
    if (HasRoom(bytes)) return;
    TakeBack(GroupOf(*entry, entries));
  }
}

bool CacheAdmission::ReclaimAll(const Entries& entries) {
  const Members idle = Idle(entries);
  for (EngineEntry* entry : idle) TakeBack(GroupOf(*entry, entries));
  return !idle.empty();
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
  if (!kept.ok()) ForgetPrefixes();
}

Trunk CacheAdmission::TrunkFor(const EngineEntry& entry, const StepWork& work) {
  if (trunks_.empty() || entry.latest_entry == 0) return {};
  return trunks_.Find(KeyOf(entry, work), entry.latest_entry);
}

void CacheAdmission::BeginLate(const EngineEntry& entry, StepItem& item) {
  if (item.cache != nullptr) return;
  item.trunk = TrunkFor(entry, item.work);
  if (entry.branch_block > item.trunk.block) {
    item.kept_block = entry.branch_block;
  }
}

void CacheAdmission::KeepTrunk(const EngineEntry& entry, StepItem& item) {
  spared_block_row_count_ +=
      item.trunk.block * static_cast<int64_t>(item.work.tokens.size());
  if (item.kept_block == 0) return;
  trunks_.Keep(KeyOf(entry, item.work), std::move(item.kept_trunk));
}

std::vector<std::vector<PickedEntry>> CacheAdmission::Rounds(
    const std::vector<PickedEntry>& picked) {
  std::set<std::pair<TrunkKey, int64_t>> awaited;
  std::vector<PickedEntry> first;
  std::vector<PickedEntry> second;
  int64_t spared_blocks = 0;
  for (const PickedEntry& own : picked) {
    const EngineEntry& entry = *own.entry;
    const int64_t branch = entry.branch_block;
    bool waits = false;
    if (branch > 0 && entry.latest_entry == branch && entry.cache == nullptr) {
      TrunkKey key = KeyOf(entry, entry.sequence->Next(own.row_limit));
      const int64_t missing = branch - trunks_.Find(key, branch).block;
      waits = missing > 0 && !awaited.emplace(std::move(key), branch).second;
      if (waits) spared_blocks += missing;
    }
    (waits ? second : first).push_back(own);
  }
  const DecoderSpec& spec = picked.front().entry->variant.model->spec();
  if (second.empty() || spared_blocks < spec.block_count()) return {picked};
  return {std::move(first), std::move(second)};
}

bool CacheAdmission::ForgetPrefixes() {
  const bool held_some = prefixes_.bytes() > 0 || trunks_.bytes() > 0;
  prefixes_.Clear();
  trunks_.Clear();
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
  stats.trunk_bytes = trunks_.bytes();
  stats.prefix_hit_token_count = prefix_hit_token_count_;
  stats.spared_block_row_count = spared_block_row_count_;
  stats.reclaimed_cache_count = reclaimed_cache_count_;
}

}  // namespace dissonance
