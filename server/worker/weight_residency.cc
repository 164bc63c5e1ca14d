#include "server/worker/weight_residency.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

bool IsHeld(const Weights& weights) {
  return std::visit([](const auto& own) { return own.use_count() > 1; },
                    weights);
}

}  // namespace

template <typename T>
std::shared_ptr<const T> WeightResidency::Find(absl::string_view name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  return std::get<std::shared_ptr<const T>>(found->second.weights);
}

void WeightResidency::Mark(absl::string_view name) {
  const auto found = entries_.find(name);
  if (found != entries_.end()) found->second.last_use = ++use_count_;
}

std::shared_ptr<const Model> WeightResidency::FindModel(
    absl::string_view name) {
  const absl::MutexLock lock(&mutex_);
  Mark(name);
  return Find<Model>(name);
}

std::shared_ptr<const LoraAdapter> WeightResidency::FindAdapter(
    absl::string_view name) {
  const absl::MutexLock lock(&mutex_);
  Mark(name);
  return Find<LoraAdapter>(name);
}

std::shared_ptr<const Model> WeightResidency::PeekModel(
    absl::string_view name) const {
  const absl::MutexLock lock(&mutex_);
  return Find<Model>(name);
}

std::shared_ptr<const LoraAdapter> WeightResidency::PeekAdapter(
    absl::string_view name) const {
  const absl::MutexLock lock(&mutex_);
  return Find<LoraAdapter>(name);
}

void WeightResidency::Put(absl::string_view name, Weights weights,
                          int64_t bytes, bool pinned) {
  Entry replaced;  // freed without the lock
  const absl::MutexLock lock(&mutex_);
  Entry& entry = entries_[std::string(name)];
  replaced = std::move(entry);
  stats_.weight_bytes += bytes - replaced.bytes;
  ++(std::holds_alternative<std::shared_ptr<const Model>>(weights)
         ? stats_.model_load_count
         : stats_.adapter_load_count);
  entry = {std::move(weights), bytes, pinned, ++use_count_};
}

void WeightResidency::SetPinned(absl::string_view name, bool pinned) {
  const absl::MutexLock lock(&mutex_);
  const auto found = entries_.find(name);
  if (found != entries_.end()) found->second.pinned = pinned;
}

void WeightResidency::Erase(absl::string_view name) {
  Entry erased;  // freed without the lock
  const absl::MutexLock lock(&mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  erased = std::move(found->second);
  stats_.weight_bytes -= erased.bytes;
  entries_.erase(found);
}

absl::Status WeightResidency::MakeRoom(absl::string_view what, int64_t bytes) {
  if (limit_bytes_ == 0) return absl::OkStatus();
  for (;;) {
    const int64_t held = stats().weight_bytes;
    if (held + bytes <= limit_bytes_) return absl::OkStatus();
    if (EvictOne()) continue;
    return absl::ResourceExhaustedError(absl::StrCat(
        what, " needs ", bytes, " bytes for its weights, and of the ",
        limit_bytes_, " that worker.weight_bytes allows ", held,
        " belong to models and adapters that are pinned or in use; unload one, "
        "or try again when their requests have ended"));
  }
}

bool WeightResidency::EvictOne() {
  Entry evicted;  // freed without the lock
  const absl::MutexLock lock(&mutex_);
  auto oldest = entries_.end();
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->second.pinned || IsHeld(entry->second.weights)) continue;
    if (oldest == entries_.end() ||
        entry->second.last_use < oldest->second.last_use) {
      oldest = entry;
    }
  }
  if (oldest == entries_.end()) return false;
  evicted = std::move(oldest->second);
  stats_.weight_bytes -= evicted.bytes;
  ++stats_.eviction_count;
  entries_.erase(oldest);
  return true;
}

ResidencyStats WeightResidency::stats() const {
  const absl::MutexLock lock(&mutex_);
  return stats_;
}

}  // namespace dissonance
