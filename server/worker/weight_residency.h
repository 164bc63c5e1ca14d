// Weights on the device, by name, bounded in bytes. To make room those that
// were used least recently leave, of those that nobody holds and that are not
// pinned. Thread safe; no call takes longer than a look at every entry.
#ifndef DISSONANCE_SERVER_WORKER_WEIGHT_RESIDENCY_H_
#define DISSONANCE_SERVER_WORKER_WEIGHT_RESIDENCY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "src/compute/lora/adapter.h"
#include "src/compute/model/model.h"

namespace dissonance {

using Weights = std::variant<std::shared_ptr<const Model>,
                             std::shared_ptr<const LoraAdapter>>;

// Since the beginning, and what is held now.
struct ResidencyStats {
  int64_t model_load_count = 0;
  int64_t adapter_load_count = 0;
  int64_t eviction_count = 0;  // left to make room
  int64_t weight_bytes = 0;
};

class WeightResidency {
 public:
  // 0: no bound but the device's memory.
  explicit WeightResidency(int64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  // Marks them as used. Null if they are not here.
  std::shared_ptr<const Model> FindModel(absl::string_view name)
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::shared_ptr<const LoraAdapter> FindAdapter(absl::string_view name)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The same without marking them.
  std::shared_ptr<const Model> PeekModel(absl::string_view name) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::shared_ptr<const LoraAdapter> PeekAdapter(absl::string_view name) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // In place of what has the name.
  void Put(absl::string_view name, Weights weights, int64_t bytes, bool pinned)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // No effect on what is not here; the same below.
  void SetPinned(absl::string_view name, bool pinned)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Erase(absl::string_view name) ABSL_LOCKS_EXCLUDED(mutex_);

  // Until so many bytes more are within the bound. RESOURCE_EXHAUSTED, naming
  // `what` they are for, if too much is pinned or held.
  absl::Status MakeRoom(absl::string_view what, int64_t bytes)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // False if everything is pinned or held.
  bool EvictOne() ABSL_LOCKS_EXCLUDED(mutex_);

  ResidencyStats stats() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    Weights weights;
    int64_t bytes = 0;
    bool pinned = false;
    int64_t last_use = 0;
  };

  template <typename T>
  std::shared_ptr<const T> Find(absl::string_view name) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Mark(absl::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t limit_bytes_;
  mutable absl::Mutex mutex_;
  int64_t use_count_ ABSL_GUARDED_BY(mutex_) = 0;
  ResidencyStats stats_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Entry, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_WEIGHT_RESIDENCY_H_
