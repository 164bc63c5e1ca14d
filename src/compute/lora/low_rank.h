// What adapters add to the rows of a generation step: for each run of rows two
// thin products, straight from the adapter's matrices into the projection's
// output. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_LORA_LOW_RANK_H_
#define DISSONANCE_COMPUTE_LORA_LOW_RANK_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "src/compute/lora/adapter.h"

namespace dissonance {

// Consecutive rows and what is added to them.
struct LowRankRows {
  int64_t row_begin = 0;
  int64_t row_count = 0;
  const LoraGroup* group = nullptr;
};

// Whether AddLowRank computes with outputs like y: on the CPU.
bool HasLowRank(const at::Tensor& y);

// y [rows, out] += up (down x) of each run for x [rows, in]; computed in the
// adapter's type, a sum rounded to y's. A row's bits depend on that row and its
// adapter alone. Threads share out the runs.
void AddLowRank(const std::vector<LowRankRows>& runs, const at::Tensor& x,
                const at::Tensor& y);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_LORA_LOW_RANK_H_
