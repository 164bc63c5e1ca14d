// Which sequences go into the next step, and with how many rows. Used by the
// engine's thread only.
#ifndef DISSONANCE_COMPUTE_ENGINE_STEP_PICKER_H_
#define DISSONANCE_COMPUTE_ENGINE_STEP_PICKER_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "src/compute/engine/engine_options.h"
#include "src/compute/engine/sequence.h"
#include "src/compute/model/kv_cache.h"

namespace dissonance {

// Sequences that can only go on together: their caches are given all at once.
struct CacheGroup {
  int64_t bytes = 0;         // of all their caches
  bool is_reserved = false;  // for those that have none yet
};

// A sequence in the engine, with what it computes on.
struct EngineEntry {
  int64_t number = 0;
  Priority priority = Priority::kInteractive;
  EngineVariant variant;
  std::unique_ptr<Sequence> sequence;
  // Null until it has to hold something from one step to another.
  std::unique_ptr<KvCache> cache;
  int64_t cache_bytes = 0;            // that it takes
  std::shared_ptr<CacheGroup> group;  // null: on its own
  int64_t row_limit = 0;              // most prompt rows at once
  int64_t capture_row_bytes = 0;      // kept of a prompt row, where most are
  int64_t latest_entry = 0;           // block that it may begin with
  int64_t branch_block = 0;           // of the first change; 0: no trunk
  // That its next step begins with, as of when it was admitted.
  int64_t first_block = 0;
  std::chrono::steady_clock::time_point arrival;
  // Since when it can't go on; none: it could when entries were last picked.
  std::optional<std::chrono::steady_clock::time_point> unready_since;
  bool has_started = false;
  bool has_kept_prefix = false;
  bool ended = false;
};

struct PickedEntry {
  EngineEntry* entry = nullptr;
  int64_t row_limit = 0;  // for Sequence::Next
};

class StepPicker {
 public:
  // Whether an entry could be given what it needs to be computed with at most
  // that many prompt rows.
  using Admit = std::function<bool(EngineEntry&, int64_t row_limit)>;

  explicit StepPicker(const EngineOptions& options) : options_(options) {}

  // One model's entries: of the models with something that can be done the one
  // that had no turn for longest. All generation steps come first, then prompts
  // by priority and arrival while the budget lasts: whole ones, but for the
  // first; in every few steps only while an interactive request waits for its
  // next token. While one waits for its cache no later one of any model gets a
  // new cache, or small ones would keep a large one waiting. O(entries).
  std::vector<PickedEntry> Pick(
      const std::deque<std::unique_ptr<EngineEntry>>& entries,
      const Admit& admit);

  // Whether one waits for its cache.
  bool is_starving() const { return starved_.has_value(); }

 private:
  using Entries = std::vector<EngineEntry*>;

  // The entries of each model that have something to do; the model whose turn
  // it is comes first.
  std::vector<Entries> ByModel(
      const std::deque<std::unique_ptr<EngineEntry>>& entries);
  std::vector<PickedEntry> PickOf(const Entries& entries, const Admit& admit);
  void AddPrompts(const Entries& prompts, int64_t budget, const Admit& admit,
                  std::vector<PickedEntry>& picked);
  // Whether a cache for the entry would be taken from one that waits for its
  // own.
  bool IsBehindStarved(const EngineEntry& entry) const {
    const bool has_room = entry.group != nullptr && entry.group->is_reserved;
    return starved_.has_value() && !has_room &&
           std::pair(entry.priority, entry.number) > *starved_;
  }

  const EngineOptions options_;
  int64_t turn_ = 0;
  std::map<const Model*, int64_t> last_turns_;  // of models with entries
  // Steps still to come without prompts; of models with any.
  std::map<const Model*, int64_t> pauses_;
  // Priority and number of the first one that found no room for its cache.
  std::optional<std::pair<Priority, int64_t>> starved_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_STEP_PICKER_H_
