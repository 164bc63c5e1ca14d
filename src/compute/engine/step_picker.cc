#include "src/compute/engine/step_picker.h"

#include <algorithm>

#include "absl/algorithm/container.h"

namespace dissonance {
namespace {

// Rows through all blocks take about as long as so many of the entry's through
// those that it needs. Counted as a quarter at least: they take memory, too.
int64_t FullRows(const EngineEntry& entry, int64_t rows) {
  const int64_t blocks = entry.variant.model->spec().block_count();
  return std::max(rows / 4, rows * (blocks - entry.first_block) / blocks);
}

}  // namespace

std::vector<StepPicker::Entries> StepPicker::ByModel(
    const std::deque<std::unique_ptr<EngineEntry>>& entries) {
  std::map<const Model*, int64_t> turns;
  std::map<const Model*, Entries> ready;
  bool is_starving = false;
  const auto now = std::chrono::steady_clock::now();
  for (const std::unique_ptr<EngineEntry>& entry : entries) {
    const Model* model = entry->variant.model.get();
    const auto last = last_turns_.find(model);
    turns[model] = last == last_turns_.end() ? 0 : last->second;
    if (!entry->sequence->ready()) {
      if (!entry->unready_since.has_value()) entry->unready_since = now;
      continue;
    }
    entry->unready_since.reset();
    ready[model].push_back(entry.get());
    is_starving |= entry->cache == nullptr && starved_.has_value() &&
                   starved_->second == entry->number;
  }
  last_turns_ = std::move(turns);
  std::erase_if(pauses_, [this](const auto& pause) {
    return !last_turns_.contains(pause.first);
  });
  // It has ended, got its cache, or can't go on anyway.
  if (!is_starving) starved_.reset();
  std::vector<Entries> models;
  for (auto& [model, own] : ready) models.push_back(std::move(own));
  // Models that had no turn yet go by arrival.
  absl::c_sort(models, [this](const Entries& a, const Entries& b) {
    const auto key = [this](const Entries& own) {
      return std::pair(last_turns_.at(own.front()->variant.model.get()),
                       own.front()->number);
    };
    return key(a) < key(b);
  });
  return models;
}

std::vector<PickedEntry> StepPicker::Pick(
    const std::deque<std::unique_ptr<EngineEntry>>& entries,
    const Admit& admit) {
  for (const Entries& own : ByModel(entries)) {
    std::vector<PickedEntry> picked = PickOf(own, admit);
    if (picked.empty()) continue;
    last_turns_[own.front()->variant.model.get()] = ++turn_;
    return picked;
  }
  return {};
}

std::vector<PickedEntry> StepPicker::PickOf(const Entries& entries,
                                            const Admit& admit) {
  std::vector<PickedEntry> picked;
  Entries prompts;
  bool somebody_waits = false;  // for the next token
  for (EngineEntry* entry : entries) {
    if (!entry->sequence->is_decoding()) {
      prompts.push_back(entry);
      continue;
    }
    picked.push_back({.entry = entry, .row_limit = 1});
    somebody_waits |= entry->priority == Priority::kInteractive;
  }
  const Model* model = entries.front()->variant.model.get();
  if (const auto pause = pauses_.find(model); pause != pauses_.end()) {
    if (--pause->second == 0) pauses_.erase(pause);
    if (somebody_waits) return picked;
  }
  const size_t decoding = picked.size();
  absl::c_stable_sort(prompts, [](const EngineEntry* a, const EngineEntry* b) {
    return a->priority < b->priority;
  });
  const int64_t budget =
      somebody_waits
          ? options_.decode_step_tokens
          : options_.step_tokens - static_cast<int64_t>(picked.size());
  AddPrompts(prompts, budget, admit, picked);
  if (somebody_waits && picked.size() > decoding &&
      options_.decode_steps_between > 0) {
    pauses_[model] = options_.decode_steps_between;
  }
  return picked;
}

void StepPicker::AddPrompts(const Entries& prompts, int64_t budget,
                            const Admit& admit,
                            std::vector<PickedEntry>& picked) {
  const int64_t tile = options_.attention_tile;
  int64_t capture_budget = options_.capture_bytes;
  bool is_first = true;
  for (EngineEntry* entry : prompts) {
    const int64_t room = std::min(entry->row_limit, budget / tile * tile);
    const int64_t limit = is_first ? std::max(room, tile) : room;
    if (!is_first) {
      const int64_t whole = entry->sequence->next_row_count(entry->row_limit);
      const bool fits = whole <= budget || entry->cache != nullptr;
      if (limit <= 0 || !fits || capture_budget <= 0) break;
    }
    if (entry->cache == nullptr) {
      const bool needs_cache = !entry->sequence->fits_one_step(limit);
      if (needs_cache && IsBehindStarved(*entry)) continue;
      if (!admit(*entry, limit)) {
        if (!entry->ended) starved_ = std::pair(entry->priority, entry->number);
        continue;
      }
    }
    const int64_t rows = entry->sequence->next_row_count(limit);
    picked.push_back({.entry = entry, .row_limit = limit});
    budget -= FullRows(*entry, rows);
    capture_budget -= rows * entry->capture_row_bytes;
    is_first = false;
  }
}

}  // namespace dissonance
