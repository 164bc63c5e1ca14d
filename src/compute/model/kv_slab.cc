#include "src/compute/model/kv_slab.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <iterator>

namespace dissonance {

KvSlab::KvSlab(const DecoderSpec& spec, int64_t tokens,
               const at::TensorOptions& options)
    : free_{{0, tokens}} {
  const std::vector<int64_t> shape = {tokens, spec.kv_head_count,
                                      spec.head_dim};
  for (int64_t block = 0; block < spec.block_count(); ++block) {
    layers_.push_back({at::empty(shape, options), at::empty(shape, options)});
  }
}

int64_t KvSlab::Take(int64_t tokens) {
  const auto range =
      std::find_if(free_.begin(), free_.end(),
                   [tokens](const auto& own) { return own.second >= tokens; });
  if (range == free_.end()) return -1;
  const auto [begin, held] = *range;
  free_.erase(range);
  if (held > tokens) free_.emplace(begin + tokens, held - tokens);
  return begin;
}

void KvSlab::Give(int64_t begin, int64_t tokens) {
  auto own = free_.emplace(begin, tokens).first;
  if (const auto next = std::next(own);
      next != free_.end() && begin + tokens == next->first) {
    own->second += next->second;
    free_.erase(next);
  }
  if (own == free_.begin()) return;
  const auto before = std::prev(own);
  if (before->first + before->second != begin) return;
  before->second += own->second;
  free_.erase(own);
}

KvRange::~KvRange() {
  if (slab_ != nullptr) slab_->Give(begin_, tokens_);
}

KvRange KvPool::Take(int64_t tokens) {
  std::erase_if(slabs_, [](const auto& slab) { return slab.expired(); });
  for (const std::weak_ptr<KvSlab>& held : slabs_) {
    std::shared_ptr<KvSlab> slab = held.lock();
    if (const int64_t begin = slab->Take(tokens); begin >= 0) {
      return {std::move(slab), begin, tokens};
    }
  }
  std::shared_ptr<KvSlab> slab;
  try {
    slab = std::make_shared<KvSlab>(spec_, std::max(slab_tokens_, tokens),
                                    options_);
  } catch (const c10::OutOfMemoryError&) {
    if (tokens >= slab_tokens_) throw;
    slab = std::make_shared<KvSlab>(spec_, tokens, options_);
  }
  slabs_.push_back(slab);
  const int64_t begin = slab->Take(tokens);
  return {std::move(slab), begin, tokens};
}

}  // namespace dissonance
