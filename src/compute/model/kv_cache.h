// Keys and values of one sequence, for all blocks. A sequence's length is
// known when it is admitted, so its cache is allocated once and its bytes are
// known beforehand. Owned by the sequence; used by one thread.
#ifndef DISSONANCE_COMPUTE_MODEL_KV_CACHE_H_
#define DISSONANCE_COMPUTE_MODEL_KV_CACHE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>

#include "src/compute/model/decoder_spec.h"
#include "src/compute/model/kv_slab.h"

namespace dissonance {

class KvCache {
 public:
  // Room for `capacity` tokens, in memory of its own.
  KvCache(const DecoderSpec& spec, int64_t capacity,
          const at::TensorOptions& options);
  // Room for as many tokens as the range has.
  explicit KvCache(KvRange range) : range_(std::move(range)) {}

  // Bytes that a cache of `capacity` tokens takes.
  static int64_t BytesFor(const DecoderSpec& spec, int64_t capacity,
                          int64_t element_bytes);

  int64_t length() const { return length_; }
  int64_t block_count() const { return range_.slab().block_count(); }

  // Writes k and v [tokens, kv_heads, head_dim] of a block behind the tokens
  // held. REQUIRES: length() + tokens <= the capacity.
  void Append(int64_t block, const at::Tensor& k, const at::Tensor& v);

  // Counts tokens appended to every block as held.
  void Advance(int64_t tokens) { length_ += tokens; }

  // The first `tokens` keys or values: [tokens, kv_heads, head_dim], a view.
  at::Tensor Keys(int64_t block, int64_t tokens) const;
  at::Tensor Values(int64_t block, int64_t tokens) const;

  // Where they lie.
  const KvRange& range() const { return range_; }

 private:
  KvRange range_;
  int64_t length_ = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_KV_CACHE_H_
