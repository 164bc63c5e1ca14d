// Residual streams of sequences that were computed, at the block where their
// interventions begin. Below it nothing was changed: a later sequence of the
// same tokens, whose own interventions begin there or above, begins with that
// block and has the same bits. So a sweep over settings computes what they have
// in common once. Least recently used trunks go first. Used by the engine's
// thread only.
//
//   TrunkStore store(int64_t{256} << 20);
//   const TrunkKey key = {network, tokens, tree_parents};
//   store.Keep(key, {.block = 4, .residual = rows});
//   Trunk trunk = store.Find(key, /*latest=*/7);  // block 4
#ifndef DISSONANCE_COMPUTE_ENGINE_TRUNK_STORE_H_
#define DISSONANCE_COMPUTE_ENGINE_TRUNK_STORE_H_

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "src/compute/engine/step_batch.h"

namespace dissonance {

// Everything that a trunk's bits depend on.
struct TrunkKey {
  std::string network;  // model, type, device and adapter by content
  // The rows of a step that begins the sequence: see StepWork.
  std::vector<int32_t> tokens;
  std::vector<int32_t> tree_parents;

  friend auto operator<=>(const TrunkKey&, const TrunkKey&) = default;
};

class TrunkStore {
 public:
  // Holds at most `byte_limit` bytes of rows.
  explicit TrunkStore(int64_t byte_limit) : byte_limit_(byte_limit) {}

  // What is held at the last block up to `latest`; block 0 if nothing is.
  Trunk Find(const TrunkKey& key, int64_t latest);

  // Keeps it unless it is held or larger than all that may be.
  void Keep(const TrunkKey& key, Trunk trunk);

  void Clear();

  bool empty() const { return trunks_.empty(); }
  int64_t bytes() const { return bytes_; }

 private:
  using Place = std::pair<TrunkKey, int64_t>;  // and block
  struct Held {
    at::Tensor residual;
    std::list<const Place*>::iterator use = {};
  };

  // Until no more than so many bytes are held.
  void Evict(int64_t limit);

  const int64_t byte_limit_;
  int64_t bytes_ = 0;
  std::map<Place, Held> trunks_;
  std::list<const Place*> uses_;  // keys of trunks_, least recent first
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_TRUNK_STORE_H_
