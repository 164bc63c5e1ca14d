#include "src/compute/engine/kv_pools.h"

#include <algorithm>

namespace dissonance {

std::unique_ptr<KvCache> KvPools::MakeCache(
    const std::shared_ptr<const Model>& model, int64_t tokens) {
  const at::TensorOptions options = model->weights().embed.options();
  if (model->device().is_cpu()) {
    return std::make_unique<KvCache>(model->spec(), tokens, options);
  }
  pools_.remove_if([](const ModelPool& own) { return own.model.expired(); });
  auto own = std::find_if(
      pools_.begin(), pools_.end(),
      [&model](const ModelPool& pool) { return pool.model.lock() == model; });
  if (own == pools_.end()) {
    const int64_t token_bytes = KvCache::BytesFor(
        model->spec(), 1, static_cast<int64_t>(options.dtype().itemsize()));
    own = pools_.insert(
        own, {.model = model,
              .pool = KvPool(model->spec(), options,
                             slab_bytes_ / std::max<int64_t>(token_bytes, 1))});
  }
  return std::make_unique<KvCache>(own->pool.Take(tokens));
}

}  // namespace dissonance
