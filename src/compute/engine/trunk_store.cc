#include "src/compute/engine/trunk_store.h"

#include <iterator>

namespace dissonance {

Trunk TrunkStore::Find(const TrunkKey& key, int64_t latest) {
  const auto behind = trunks_.upper_bound({key, latest});
  if (behind == trunks_.begin()) return {};
  const auto& [place, held] = *std::prev(behind);
  if (place.first != key) return {};
  uses_.splice(uses_.end(), uses_, held.use);
  return {.block = place.second, .residual = held.residual};
}

void TrunkStore::Keep(const TrunkKey& key, Trunk trunk) {
  const auto bytes = static_cast<int64_t>(trunk.residual.nbytes());
  if (bytes > byte_limit_) return;
  const auto [own, is_new] = trunks_.try_emplace({key, trunk.block});
  if (!is_new) return;
  own->second.residual = std::move(trunk.residual);
  own->second.use = uses_.insert(uses_.end(), &own->first);
  bytes_ += bytes;
  Evict(byte_limit_);
}

void TrunkStore::Evict(int64_t limit) {
  while (bytes_ > limit) {
    const auto oldest = trunks_.find(*uses_.front());
    bytes_ -= static_cast<int64_t>(oldest->second.residual.nbytes());
    uses_.pop_front();
    trunks_.erase(oldest);
  }
}

void TrunkStore::Clear() {
  uses_.clear();
  trunks_.clear();
  bytes_ = 0;
}

}  // namespace dissonance
