#include "server/worker/training_budget.h"

#include <ATen/DeviceAccelerator.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "src/base/file.h"
#include "src/base/memory.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

// Left for requests that come meanwhile, where no limit is set.
constexpr int64_t kReserveBytes = int64_t{256} << 20;

struct BudgetFigures {
  int64_t limit_bytes = 0;  // 0: none
  int64_t free_bytes = 0;
  int64_t held_bytes = 0;
  int64_t lease_count = 0;
};

// "1000 are free of the 2000 of worker.training_bytes, and ...".
std::string FreeText(const BudgetFigures& budget) {
  return absl::StrCat(budget.free_bytes, " are free",
                      budget.limit_bytes > 0
                          ? absl::StrCat(" of the ", budget.limit_bytes,
                                         " of worker.training_bytes")
                          : "",
                      ", and ", budget.lease_count,
                      " other trainings and fits hold ", budget.held_bytes);
}

absl::Status TooLarge(const ProbeNeed& need, const BudgetFigures& budget) {
  return absl::ResourceExhaustedError(
      absl::StrCat("the fit needs about ", need.matrix_bytes + need.fit_bytes,
                   " bytes beside the model's weights: ", need.matrix_bytes,
                   " of ", need.row_count, " rows at ", need.place_count,
                   " places of ", need.variant_count, " variants, and ",
                   need.fit_bytes, " of the fits under way; ", FreeText(budget),
                   "; ask for fewer blocks, sites or variants at once"));
}

absl::Status TooLarge(const TrainingNeed& need, const BudgetFigures& budget) {
  const int64_t free_bytes = budget.free_bytes;
  const TrainingMemory& memory = need.memory;
  const std::string figures = absl::StrCat(
      "training needs about ", memory.state_bytes + memory.activation_bytes,
      " bytes beside the model's weights: ", memory.state_bytes,
      " of adapter weights, gradients and moments, and ",
      memory.activation_bytes, " of the largest micro-batch; ",
      FreeText(budget));
  if (memory.state_bytes > free_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        figures,
        "; take a lower rank or fewer modules, or wait until others "
        "have ended"));
  }
  if (memory.state_bytes + memory.longest_bytes > free_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        figures, "; the document on line ", memory.longest_line, " with ",
        need.longest_tokens, " tokens needs ", memory.longest_bytes,
        " alone: set a shorter max_length_tokens, or "
        "activation_checkpointing"));
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      figures,
      "; set a smaller micro_batch_size (with a larger accumulation_count the "
      "steps stay the same), activation_checkpointing, or a shorter "
      "max_length_tokens"));
}

// "VmHWM:   123 kB" of /proc/self/status.
int64_t PeakResidentBytes() {
  const std::string file = ReadFile("/proc/self/status", 1 << 16).value_or("");
  for (absl::string_view line : absl::StrSplit(file, '\n')) {
    if (!absl::ConsumePrefix(&line, "VmHWM:")) continue;
    absl::ConsumeSuffix(&line, "kB");
    int64_t kib = 0;
    return absl::SimpleAtoi(line, &kib) ? kib * 1024 : 0;
  }
  return 0;
}

}  // namespace

TrainingBudget::Lease::~Lease() {
  if (budget_ == nullptr) return;
  const absl::MutexLock lock(&budget_->mutex_);
  budget_->state_bytes_ -= memory_.state_bytes;
  if (!is_allocated_) budget_->unallocated_bytes_ -= memory_.state_bytes;
  budget_->activation_bytes_ -= memory_.activation_bytes;
  --budget_->lease_count_;
}

void TrainingBudget::Lease::SetAllocated() {
  const absl::MutexLock lock(&budget_->mutex_);
  budget_->unallocated_bytes_ -= memory_.state_bytes;
  is_allocated_ = true;
}

absl::StatusOr<TrainingBudget::Lease> TrainingBudget::Reserve(
    const TrainingNeed& need) {
  const absl::MutexLock lock(&mutex_);
  const int64_t free_bytes = FreeBytes();
  if (need.memory.state_bytes + need.memory.activation_bytes > free_bytes) {
    return TooLarge(need, {.limit_bytes = limit_bytes_,
                           .free_bytes = free_bytes,
                           .held_bytes = state_bytes_ + activation_bytes_,
                           .lease_count = lease_count_});
  }
  return Take(need.memory);
}

absl::StatusOr<TrainingBudget::Lease> TrainingBudget::Reserve(
    const ProbeNeed& need) {
  const absl::MutexLock lock(&mutex_);
  const int64_t free_bytes = FreeBytes();
  if (need.matrix_bytes + need.fit_bytes > free_bytes) {
    return TooLarge(need, {.limit_bytes = limit_bytes_,
                           .free_bytes = free_bytes,
                           .held_bytes = state_bytes_ + activation_bytes_,
                           .lease_count = lease_count_});
  }
  TrainingMemory memory;
  memory.state_bytes = need.matrix_bytes;
  memory.activation_bytes = need.fit_bytes;
  return Take(memory);
}

TrainingBudget::Lease TrainingBudget::Take(const TrainingMemory& memory) {
  state_bytes_ += memory.state_bytes;
  unallocated_bytes_ += memory.state_bytes;
  activation_bytes_ += memory.activation_bytes;
  ++lease_count_;
  Lease lease;
  lease.budget_ = this;
  lease.memory_ = memory;
  return lease;
}

int64_t TrainingBudget::free_bytes() const {
  const absl::MutexLock lock(&mutex_);
  return FreeBytes();
}

int64_t TrainingBudget::FreeBytes() const {
  if (limit_bytes_ > 0) {
    return std::max<int64_t>(limit_bytes_ - state_bytes_ - activation_bytes_,
                             0);
  }
  const std::optional<int64_t> available = available_();
  if (!available.has_value()) return std::numeric_limits<int64_t>::max() / 2;
  // What others hold between their pieces is missing from it already.
  return std::max<int64_t>(
      *available - unallocated_bytes_ - activation_bytes_ - kReserveBytes, 0);
}

std::optional<int64_t> AvailableDeviceBytes(const at::Device& device) {
  if (device.is_cpu()) return AvailableMemoryBytes();
  std::optional<int64_t> bytes;
  const absl::Status asked = CatchTorch("free memory of the device", [&] {
    const auto [free, total] = at::accelerator::getMemoryInfo(device.index());
    const auto stats = at::accelerator::getDeviceStats(device.index());
    constexpr auto kAll =
        static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    bytes = static_cast<int64_t>(free) + stats.reserved_bytes[kAll].current -
            stats.allocated_bytes[kAll].current;
  });
  return asked.ok() ? bytes : std::nullopt;
}

int64_t PeakDeviceBytes(const at::Device& device) {
  if (device.is_cpu()) return PeakResidentBytes();
  int64_t bytes = 0;
  const absl::Status asked = CatchTorch("peak memory of the device", [&] {
    constexpr auto kAll =
        static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    bytes = at::accelerator::getDeviceStats(device.index())
                .allocated_bytes[kAll]
                .peak;
  });
  return asked.ok() ? bytes : 0;
}

void ForgetPeak(const at::Device& device) {
  if (device.is_cpu()) {
    // Where the system does not allow it the peak is an older one.
    std::ofstream("/proc/self/clear_refs") << '5';
    return;
  }
  CatchTorch("peak memory of the device", [&] {
    at::accelerator::resetPeakStats(device.index());
  }).IgnoreError();
}

}  // namespace dissonance
