#include "src/compute/engine/step_picker.h"

#include <algorithm>

namespace dissonance {

StepPicker::Entries StepPicker::OfNextModel(
    const std::deque<std::unique_ptr<EngineEntry>>& entries) {
  std::map<const Model*, int64_t> turns;
  Entries ready;
  for (const std::unique_ptr<EngineEntry>& entry : entries) {
    const Model* model = entry->variant.model.get();
    const auto last = last_turns_.find(model);
    turns[model] = last == last_turns_.end() ? 0 : last->second;
    if (entry->sequence->ready()) ready.push_back(entry.get());
  }
  last_turns_ = std::move(turns);
  if (ready.empty()) return ready;
  const auto turn_of = [this](const EngineEntry* entry) {
    return last_turns_.at(entry->variant.model.get());
  };
  const Model* next =
      (*std::min_element(ready.begin(), ready.end(), [&](auto* a, auto* b) {
        return turn_of(a) < turn_of(b);
      }))->variant.model.get();
  last_turns_[next] = ++turn_;
  std::erase_if(ready, [next](const EngineEntry* entry) {
    return entry->variant.model.get() != next;
  });
  return ready;
}

std::vector<PickedEntry> StepPicker::Pick(
    const std::deque<std::unique_ptr<EngineEntry>>& entries,
    const Admit& admit) {
  std::vector<PickedEntry> picked;
  Entries prompts;
  bool somebody_waits = false;  // for the next token
  for (EngineEntry* entry : OfNextModel(entries)) {
    if (!entry->sequence->is_decoding()) {
      prompts.push_back(entry);
      continue;
    }
    picked.push_back({.entry = entry, .row_limit = 1});
    somebody_waits |= entry->priority == Priority::kInteractive;
  }
  std::stable_sort(prompts.begin(), prompts.end(),
                   [](const EngineEntry* a, const EngineEntry* b) {
                     return a->priority < b->priority;
                   });
  const int64_t budget =
      somebody_waits
          ? options_.decode_step_tokens
          : options_.step_tokens - static_cast<int64_t>(picked.size());
  AddPrompts(prompts, budget, admit, picked);
  return picked;
}

void StepPicker::AddPrompts(const Entries& prompts, int64_t budget,
                            const Admit& admit,
                            std::vector<PickedEntry>& picked) const {
  const int64_t tile = options_.attention_tile;
  int64_t capture_budget = options_.capture_bytes;
  bool is_first = true;
  bool cache_is_full = false;
  for (EngineEntry* entry : prompts) {
    const int64_t room = std::min(entry->row_limit, budget / tile * tile);
    const int64_t limit = is_first ? std::max(room, tile) : room;
    if (!is_first) {
      const int64_t whole = entry->sequence->next_row_count(entry->row_limit);
      const bool fits = whole <= budget || entry->cache != nullptr;
      if (limit <= 0 || !fits || capture_budget <= 0) break;
    }
    if (entry->cache == nullptr) {
      if (cache_is_full && !entry->sequence->fits_one_step(limit)) continue;
      if (!admit(*entry, limit)) {
        cache_is_full = true;
        continue;
      }
    }
    const int64_t rows = entry->sequence->next_row_count(limit);
    picked.push_back({.entry = entry, .row_limit = limit});
    budget -= rows;
    capture_budget -= rows * entry->capture_row_bytes;
    is_first = false;
  }
}

}  // namespace dissonance
