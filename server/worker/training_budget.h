// Memory for trainings and probes beside weights and caches: what each may take
// is reserved before it begins and returned when it ends. Thread safe.
//
//   TrainingBudget budget(0, [] { return AvailableMemoryBytes(); });
//   ASSIGN_OR_RETURN(TrainingBudget::Lease lease, budget.Reserve(need));
#ifndef DISSONANCE_SERVER_WORKER_TRAINING_BUDGET_H_
#define DISSONANCE_SERVER_WORKER_TRAINING_BUDGET_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "src/compute/train/trainer.h"

namespace dissonance {

// What a training takes.
struct TrainingNeed {
  TrainingMemory memory;
  int64_t longest_tokens = 0;  // of the document at memory.longest_line
};

// What fits to activations take.
struct ProbeNeed {
  int64_t matrix_bytes = 0;  // of all rows
  int64_t fit_bytes = 0;     // of places under way, beside them
  int64_t row_count = 0;     // of one matrix
  int64_t place_count = 0;
  int64_t variant_count = 0;
};

class TrainingBudget {
 public:
  // Bytes that are free now; unset where nobody knows.
  using Available = std::function<std::optional<int64_t>()>;

  // Returns its bytes at its end. The budget outlives it.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept { *this = std::move(other); }
    Lease& operator=(Lease&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(memory_, other.memory_);
      std::swap(is_allocated_, other.is_allocated_);
      return *this;
    }
    ~Lease();

    // The state, or all matrices, are allocated: they are missing from what is
    // free. Until then they are reckoned. REQUIRES: of Reserve; call once.
    void SetAllocated();

   private:
    friend class TrainingBudget;
    TrainingBudget* budget_ = nullptr;
    TrainingMemory memory_;
    bool is_allocated_ = false;
  };

  // `limit_bytes` of all of them together; 0: what is free when one begins,
  // less a reserve for everything else.
  TrainingBudget(int64_t limit_bytes, Available available)
      : limit_bytes_(limit_bytes), available_(std::move(available)) {}

  // RESOURCE_EXHAUSTED, with figures and what to do, if it is more than is
  // free.
  absl::StatusOr<Lease> Reserve(const TrainingNeed& need)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Lease> Reserve(const ProbeNeed& need)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Bytes that one more of them may take now.
  int64_t free_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  int64_t FreeBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Lease Take(const TrainingMemory& memory)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t limit_bytes_;
  const Available available_;
  mutable absl::Mutex mutex_;
  int64_t state_bytes_ ABSL_GUARDED_BY(mutex_) = 0;        // of all leases
  int64_t unallocated_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // of those
  int64_t activation_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t lease_count_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What is free on a device: the machine's memory, or an accelerator's with what
// its allocator holds and does not use.
std::optional<int64_t> AvailableDeviceBytes(const at::Device& device);

// The most that the process has held of the device's memory since it began or
// since ForgetPeak; 0: unknown.
int64_t PeakDeviceBytes(const at::Device& device);
void ForgetPeak(const at::Device& device);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_TRAINING_BUDGET_H_
