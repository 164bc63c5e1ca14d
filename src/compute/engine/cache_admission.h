// Who gets a key/value cache, within a limit of bytes. Nobody waits for a
// reader that does not read: its sequence gives its cache to one that could go
// on, and computes it again later. And what is kept of prompts that were
// computed, so that others need not. Used by the engine's thread only.
#ifndef DISSONANCE_COMPUTE_ENGINE_CACHE_ADMISSION_H_
#define DISSONANCE_COMPUTE_ENGINE_CACHE_ADMISSION_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "src/compute/engine/engine_options.h"
#include "src/compute/engine/kv_pools.h"
#include "src/compute/engine/prefix_store.h"
#include "src/compute/engine/step_batch.h"
#include "src/compute/engine/step_picker.h"
#include "src/compute/engine/trunk_store.h"

namespace dissonance {

class CacheAdmission {
 public:
  using Entries = std::deque<std::unique_ptr<EngineEntry>>;

  explicit CacheAdmission(const EngineOptions& options);

  // Gives the entry what it needs to be computed in a step of at most `limit`
  // prompt rows: nothing if that is its only one, else its cache, with what is
  // held of its prefix. False: there is no room now, and none to be had from
  // the others, `entries` in order of arrival. RESOURCE_EXHAUSTED: there is no
  // memory, and nobody else's can become free. O(entries) where caches must be
  // taken back, times the groups among them, else O(1).
  absl::StatusOr<bool> Admit(EngineEntry& entry, int64_t limit,
                             const Entries& entries);

  // Keeps the keys and values of a prompt that is whole for others.
  void KeepPrefix(EngineEntry& entry);
  // Has the item begin behind what is held of it, and be kept what others may
  // begin with. `item` is the entry's next step.
  void BeginLate(const EngineEntry& entry, StepItem& item);
  // Keeps what the step that was computed gave for it.
  void KeepTrunk(const EngineEntry& entry, StepItem& item);
  // A step's entries in the order of computing: in the second round those that
  // can begin with what one of the first will have kept, if that spares more
  // than a round costs.
  std::vector<std::vector<PickedEntry>> Rounds(
      const std::vector<PickedEntry>& picked);

  // False: there were none, of either kind.
  bool ForgetPrefixes();

  // The entry ends. Call once.
  void Release(EngineEntry& entry);

  // Fills in the figures that are kept here.
  void Count(EngineStats& stats) const;

 private:
  using Members = std::vector<EngineEntry*>;

  // The entry and those that share its group, without those that have ended.
  static Members GroupOf(EngineEntry& entry, const Entries& entries);
  // What is held of its step; block 0: nothing.
  Trunk TrunkFor(const EngineEntry& entry, const StepWork& work);
  // Whether there is room for its cache, and for those of its group.
  bool Reserve(const EngineEntry& entry);
  bool HasRoom(int64_t bytes) const {
    return cache_bytes_ + reserved_bytes_ + bytes <= limit_bytes_;
  }
  // Those that hold or reserve a cache that can be taken back, the latest
  // first: neither they nor any of their group could go on for some time.
  Members Idle(const Entries& entries) const;
  // Takes caches back until there is room for so many bytes; none if that
  // can't be.
  void Reclaim(int64_t bytes, const Entries& entries);
  // False: there was none.
  bool ReclaimAll(const Entries& entries);
  void TakeBack(const Members& group);

  const int64_t limit_bytes_;
  const std::chrono::duration<double> reclaim_after_;
  KvPools pools_;
  PrefixStore prefixes_;
  TrunkStore trunks_;
  int64_t cache_bytes_ = 0;
  int64_t reserved_bytes_ = 0;  // of caches that groups will get
  int64_t reclaimed_cache_count_ = 0;
  int64_t prefix_hit_token_count_ = 0;
  int64_t spared_block_row_count_ = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_CACHE_ADMISSION_H_
