// Numbers of leases: each is greater than all before, over restarts of the
// server too, as each is on disk before it is given. Thread safe.
//
//   ASSIGN_OR_RETURN(auto numbers, FencingNumbers::Open("/data/fencing"));
//   ASSIGN_OR_RETURN(const int64_t number, numbers->Next());
#ifndef DISSONANCE_SERVER_CONTROL_FENCING_NUMBERS_H_
#define DISSONANCE_SERVER_CONTROL_FENCING_NUMBERS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace dissonance {

class FencingNumbers {
 public:
  // Goes on after the number in `file`, or begins with 1 without it. DATA_LOSS
  // if what it holds is no number.
  static absl::StatusOr<std::unique_ptr<FencingNumbers>> Open(std::string file);

  absl::StatusOr<int64_t> Next() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  FencingNumbers(std::string file, int64_t last)
      : file_(std::move(file)), last_(last) {}

  const std::string file_;
  absl::Mutex mutex_;
  int64_t last_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_FENCING_NUMBERS_H_
