#include "src/compute/model/kv_cache.h"

#include <ATen/ops/empty.h>

#include <cstring>

namespace dissonance {
namespace {

// Copies x behind `length` rows of `held`.
void Put(const at::Tensor& x, at::Tensor& held, int64_t length) {
  const at::Tensor place = held.narrow(0, length, x.size(0));
  if (x.is_cpu() && x.is_contiguous() &&
      x.scalar_type() == held.scalar_type()) {
    // A row of a generation step costs less than the call of a torch function.
    std::memcpy(place.mutable_data_ptr(), x.const_data_ptr(), x.nbytes());
  } else {
    place.copy_(x);
  }
}

}  // namespace

KvCache::KvCache(const DecoderSpec& spec, int64_t capacity,
                 const at::TensorOptions& options) {
  for (int64_t block = 0; block < spec.block_count(); ++block) {
    const std::vector<int64_t> shape = {capacity, spec.kv_head_count,
                                        spec.head_dim};
    layers_.push_back({at::empty(shape, options), at::empty(shape, options)});
  }
}

int64_t KvCache::BytesFor(const DecoderSpec& spec, int64_t capacity,
                          int64_t element_bytes) {
  return 2 * spec.block_count() * capacity * spec.kv_width() * element_bytes;
}

void KvCache::Append(int64_t block, const at::Tensor& k, const at::Tensor& v) {
  Layer& layer = layers_[static_cast<size_t>(block)];
  Put(k, layer.keys, length_);
  Put(v, layer.values, length_);
}

at::Tensor KvCache::Keys(int64_t block, int64_t tokens) const {
  return layers_[static_cast<size_t>(block)].keys.narrow(0, 0, tokens);
}

at::Tensor KvCache::Values(int64_t block, int64_t tokens) const {
  return layers_[static_cast<size_t>(block)].values.narrow(0, 0, tokens);
}

}  // namespace dissonance
