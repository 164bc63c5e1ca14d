#include "src/compute/engine/prefix_store.h"

#include <algorithm>

namespace dissonance {

PrefixStore::Key PrefixStore::KeyAt(int64_t before,
                                    absl::Span<const int32_t> tokens,
                                    int64_t begin) const {
  const auto own =
      tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(tile_));
  return {before, {own.begin(), own.end()}};
}

std::vector<const PrefixStore::Tile*> PrefixStore::Find(
    const std::string& network, absl::Span<const int32_t> tokens) const {
  std::vector<const Tile*> found;
  const auto root = networks_.find(network);
  if (root == networks_.end()) return found;
  int64_t before = root->second;
  const auto count = static_cast<int64_t>(tokens.size());
  for (int64_t begin = 0; begin + tile_ <= count; begin += tile_) {
    const auto tile = tiles_.find(KeyAt(before, tokens, begin));
    if (tile == tiles_.end()) break;
    found.push_back(&tile->second);
    before = tile->second.number;
  }
  return found;
}

int64_t PrefixStore::Held(const std::string& network,
                          absl::Span<const int32_t> tokens) const {
  return static_cast<int64_t>(Find(network, tokens).size()) * tile_;
}

int64_t PrefixStore::Restore(const std::string& network,
                             absl::Span<const int32_t> tokens, KvCache& cache) {
  const std::vector<const Tile*> found = Find(network, tokens);
  for (const Tile* tile : found) {
    for (size_t block = 0; block < tile->keys.size(); ++block) {
      cache.Append(static_cast<int64_t>(block), tile->keys[block],
                   tile->values[block]);
    }
    cache.Advance(tile_);
  }
  for (auto tile = found.rbegin(); tile != found.rend(); ++tile) {
    uses_.splice(uses_.end(), uses_, (*tile)->use);
  }
  return static_cast<int64_t>(found.size()) * tile_;
}

void PrefixStore::Keep(const std::string& network,
                       absl::Span<const int32_t> tokens, const KvCache& cache) {
  if (static_cast<int64_t>(tokens.size()) < tile_) return;
  const auto [root, is_new] = networks_.try_emplace(network, next_number_);
  if (is_new) ++next_number_;
  int64_t before = root->second;
  std::vector<Tile*> path;
  int64_t tile_bytes = 0;
  for (int64_t block = 0; block < cache.block_count(); ++block) {
    tile_bytes += 2 * static_cast<int64_t>(cache.Keys(block, tile_).nbytes());
  }
  // More would push out their own beginning.
  const int64_t count = std::min(static_cast<int64_t>(tokens.size()),
                                 byte_limit_ / tile_bytes * tile_);
  for (int64_t begin = 0; begin + tile_ <= count; begin += tile_) {
    const Key key = KeyAt(before, tokens, begin);
    auto tile = tiles_.find(key);
    if (tile != tiles_.end()) {
      uses_.splice(uses_.end(), uses_, tile->second.use);
    } else {
      Evict(byte_limit_ - tile_bytes);
      Tile copy{.number = next_number_++, .keys = {}, .values = {}};
      for (int64_t block = 0; block < cache.block_count(); ++block) {
        const int64_t end = begin + tile_;
        copy.keys.push_back(
            cache.Keys(block, end).narrow(0, begin, tile_).clone());
        copy.values.push_back(
            cache.Values(block, end).narrow(0, begin, tile_).clone());
      }
      copy.use = uses_.insert(uses_.end(), key);
      bytes_ += TileBytes(copy);
      tile = tiles_.emplace(key, std::move(copy)).first;
    }
    path.push_back(&tile->second);
    before = tile->second.number;
  }
  for (auto tile = path.rbegin(); tile != path.rend(); ++tile) {
    uses_.splice(uses_.end(), uses_, (*tile)->use);
  }
}

int64_t PrefixStore::TileBytes(const Tile& tile) const {
  int64_t bytes = 0;
  for (const at::Tensor& keys : tile.keys) {
    bytes += 2 * static_cast<int64_t>(keys.nbytes());
  }
  return bytes;
}

void PrefixStore::Evict(int64_t limit) {
  while (bytes_ > limit && !uses_.empty()) {
    const auto tile = tiles_.find(uses_.front());
    bytes_ -= TileBytes(tile->second);
    tiles_.erase(tile);
    uses_.pop_front();
  }
}

void PrefixStore::Clear() {
  networks_.clear();
  tiles_.clear();
  uses_.clear();
  bytes_ = 0;
}

}  // namespace dissonance
