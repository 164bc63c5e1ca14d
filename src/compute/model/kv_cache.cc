#include "src/compute/model/kv_cache.h"

#include <cstring>

namespace dissonance {
namespace {

// Copies x to the rows of `held` from `row` on.
void Put(const at::Tensor& x, const at::Tensor& held, int64_t row) {
  const at::Tensor place = held.narrow(0, row, x.size(0));
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
                 const at::TensorOptions& options)
    : range_(KvPool(spec, options, capacity).Take(capacity)) {}

int64_t KvCache::BytesFor(const DecoderSpec& spec, int64_t capacity,
                          int64_t element_bytes) {
  return 2 * spec.block_count() * capacity * spec.kv_width() * element_bytes;
}

void KvCache::Append(int64_t block, const at::Tensor& k, const at::Tensor& v) {
  Put(k, range_.slab().keys(block), range_.begin() + length_);
  Put(v, range_.slab().values(block), range_.begin() + length_);
}

at::Tensor KvCache::Keys(int64_t block, int64_t tokens) const {
  return range_.slab().keys(block).narrow(0, range_.begin(), tokens);
}

at::Tensor KvCache::Values(int64_t block, int64_t tokens) const {
  return range_.slab().values(block).narrow(0, range_.begin(), tokens);
}

}  // namespace dissonance
