// Keys and values of prompts that were computed, kept for later prompts that
// begin alike: in whole attention tiles, so that what is taken from here has
// the bits that computing it again would give. A tile is found by everything
// it depends on: network, all tokens before it and its own. Least recently
// used tiles go first. Used by the engine's thread only.
#ifndef DISSONANCE_COMPUTE_ENGINE_PREFIX_STORE_H_
#define DISSONANCE_COMPUTE_ENGINE_PREFIX_STORE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "src/compute/model/kv_cache.h"

namespace dissonance {

class PrefixStore {
 public:
  // Holds at most `byte_limit` bytes in tiles of `tile` tokens.
  PrefixStore(int64_t byte_limit, int64_t tile)
      : byte_limit_(byte_limit), tile_(tile) {}

  // How many of the first tokens are held. `network` names model, type and
  // adapter by content.
  int64_t Held(const std::string& network,
               absl::Span<const int32_t> tokens) const;

  // Appends what is held of the first tokens to an empty cache; returns how
  // many. Throws c10::Error as torch does.
  int64_t Restore(const std::string& network, absl::Span<const int32_t> tokens,
                  KvCache& cache);

  // Keeps a copy of the whole tiles of `tokens`, which the cache begins with.
  // Throws c10::Error as torch does; then some may be kept.
  void Keep(const std::string& network, absl::Span<const int32_t> tokens,
            const KvCache& cache);

  void Clear();

  int64_t bytes() const { return bytes_; }

 private:
  // A tile's number stands for all that lies before the next one; networks
  // have numbers too.
  using Key = std::pair<int64_t, std::vector<int32_t>>;
  struct Tile {
    int64_t number = 0;
    std::vector<at::Tensor> keys;    // of each block [tile, kv_heads, head_dim]
    std::vector<at::Tensor> values;  // likewise
    std::list<Key>::iterator use = {};
  };

  // The key of the tile at `begin` behind `before`.
  Key KeyAt(int64_t before, absl::Span<const int32_t> tokens,
            int64_t begin) const;
  // The tiles that are held, in order.
  std::vector<const Tile*> Find(const std::string& network,
                                absl::Span<const int32_t> tokens) const;
  int64_t TileBytes(const Tile& tile) const;
  // Until no more than so many bytes are held.
  void Evict(int64_t limit);

  const int64_t byte_limit_;
  const int64_t tile_;
  int64_t next_number_ = 1;
  int64_t bytes_ = 0;
  std::map<std::string, int64_t> networks_;
  std::map<Key, Tile> tiles_;
  std::list<Key> uses_;  // least recent first; a tile after those behind it
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_PREFIX_STORE_H_
