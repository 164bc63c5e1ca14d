// Where sequences get their caches: on the CPU memory of their own, on other
// devices a range of their model's slabs. Used by the engine's thread only.
#ifndef DISSONANCE_COMPUTE_ENGINE_KV_POOLS_H_
#define DISSONANCE_COMPUTE_ENGINE_KV_POOLS_H_

#include <cstdint>
#include <list>
#include <memory>

#include "src/compute/model/kv_cache.h"
#include "src/compute/model/kv_slab.h"
#include "src/compute/model/model.h"

namespace dissonance {

class KvPools {
 public:
  // `slab_bytes`: of a slab, about; a model's memory is whole slabs.
  explicit KvPools(int64_t slab_bytes) : slab_bytes_(slab_bytes) {}

  // Room for so many tokens. Throws c10::Error as torch does.
  std::unique_ptr<KvCache> MakeCache(const std::shared_ptr<const Model>& model,
                                     int64_t tokens);

 private:
  struct ModelPool {
    std::weak_ptr<const Model> model;
    KvPool pool;
  };

  const int64_t slab_bytes_;
  std::list<ModelPool> pools_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_KV_POOLS_H_
