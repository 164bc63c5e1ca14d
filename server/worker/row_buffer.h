// Kept rows of one sequence that wait to be worked on, in order. Not thread
// safe.
#ifndef DISSONANCE_SERVER_WORKER_ROW_BUFFER_H_
#define DISSONANCE_SERVER_WORKER_ROW_BUFFER_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>

#include "src/compute/interp/capture.h"

namespace dissonance {

class RowBuffer {
 public:
  void Add(CapturedRows rows) {
    count_ += static_cast<int64_t>(rows.positions.size());
    steps_.push_back(std::move(rows));
  }

  int64_t row_count() const { return count_; }

  // The first rows: as many as one step gave, at most `limit`.
  // REQUIRES: row_count() > 0, limit > 0.
  CapturedRows Take(int64_t limit) {
    CapturedRows& first = steps_.front();
    const auto held = static_cast<int64_t>(first.positions.size());
    const int64_t taken = std::min(limit, held);
    count_ -= taken;
    CapturedRows out;
    out.positions = {first.positions.begin(), first.positions.begin() + taken};
    for (at::Tensor& rows : first.values) {
      out.values.push_back(rows.narrow(0, 0, taken));
      rows = rows.narrow(0, taken, held - taken);
    }
    first.positions.erase(first.positions.begin(),
                          first.positions.begin() + taken);
    if (taken == held) steps_.pop_front();
    return out;
  }

  // How many rows the next Take gives at most.
  int64_t next_count() const {
    return steps_.empty()
               ? 0
               : static_cast<int64_t>(steps_.front().positions.size());
  }

 private:
  std::deque<CapturedRows> steps_;
  int64_t count_ = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_ROW_BUFFER_H_
