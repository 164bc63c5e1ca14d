// Memory for the keys and values of many sequences, all blocks: a sequence
// takes a range of tokens of it. One range of one tensor a block, so that a
// device's attention over many sequences is one call. Used by one thread.
//
//   KvPool pool(spec, options, 1 << 16);
//   KvRange range = pool.Take(512);            // freed when it goes
//   range.slab().keys(block).narrow(0, range.begin(), 512);
#ifndef DISSONANCE_COMPUTE_MODEL_KV_SLAB_H_
#define DISSONANCE_COMPUTE_MODEL_KV_SLAB_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "src/compute/model/decoder_spec.h"

namespace dissonance {

class KvSlab {
 public:
  // Throws c10::Error as torch does.
  KvSlab(const DecoderSpec& spec, int64_t tokens,
         const at::TensorOptions& options);

  int64_t block_count() const { return static_cast<int64_t>(layers_.size()); }
  // [tokens, kv_heads, head_dim] of a block.
  const at::Tensor& keys(int64_t block) const {
    return layers_[static_cast<size_t>(block)].keys;
  }
  const at::Tensor& values(int64_t block) const {
    return layers_[static_cast<size_t>(block)].values;
  }

  // Takes the first range of so many tokens that is free; -1: there is none.
  int64_t Take(int64_t tokens);
  void Give(int64_t begin, int64_t tokens);

 private:
  struct Layer {
    at::Tensor keys;
    at::Tensor values;
  };
  std::vector<Layer> layers_;
  std::map<int64_t, int64_t> free_;  // begin -> tokens; no two touch
};

// Tokens of a slab that are one sequence's until this is gone.
class KvRange {
 public:
  KvRange(std::shared_ptr<KvSlab> slab, int64_t begin, int64_t tokens)
      : slab_(std::move(slab)), begin_(begin), tokens_(tokens) {}
  ~KvRange();
  KvRange(KvRange&& other) noexcept = default;
  KvRange& operator=(KvRange&&) = delete;

  const KvSlab& slab() const { return *slab_; }
  int64_t begin() const { return begin_; }
  int64_t tokens() const { return tokens_; }

 private:
  std::shared_ptr<KvSlab> slab_;  // null: moved away
  const int64_t begin_;
  const int64_t tokens_;
};

// Slabs of one model, made as they are needed and gone with their last range.
class KvPool {
 public:
  // `slab_tokens`: of a slab, unless a sequence needs more.
  KvPool(DecoderSpec spec, const at::TensorOptions& options,
         int64_t slab_tokens)
      : spec_(std::move(spec)), options_(options), slab_tokens_(slab_tokens) {}

  // Throws c10::Error as torch does.
  KvRange Take(int64_t tokens);

 private:
  const DecoderSpec spec_;
  const at::TensorOptions options_;
  const int64_t slab_tokens_;
  std::vector<std::weak_ptr<KvSlab>> slabs_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_KV_SLAB_H_
