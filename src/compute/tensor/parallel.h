// Loops on torch's own threads. Thread safe.
//
//   ParallelFor(0, rows, 8, [&](int64_t begin, int64_t end) {
//     for (int64_t row = begin; row < end; ++row) Compute(row);
//   });
#ifndef DISSONANCE_COMPUTE_TENSOR_PARALLEL_H_
#define DISSONANCE_COMPUTE_TENSOR_PARALLEL_H_

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace dissonance {

// Calls body(from, to) for ranges that cover [begin, end), each of at least
// `grain`, one a thread; on this thread alone where there are no more than
// `grain`, and within another such loop. What it throws is thrown.
void ParallelFor(int64_t begin, int64_t end, int64_t grain,
                 absl::FunctionRef<void(int64_t, int64_t)> body);

// Ends the threads that torch keeps for loops of the calling thread. For
// threads other than the one that computes: where all threads together
// outnumber the processors, OpenMP's go to sleep between loops, and waking
// them takes longer than a loop of a small model.
void ReleaseThreads();

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TENSOR_PARALLEL_H_
