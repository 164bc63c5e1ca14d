#include "src/compute/probe/place_fits.h"

#include <ATen/Parallel.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <utility>

#include "src/compute/probe/problem_fit.h"
#include "src/compute/tensor/parallel.h"

namespace dissonance {
namespace {

// Products of an iteration from which on threads share those of one place: on
// one thread it would take longer than others may be kept waiting.
constexpr int64_t kSharedProducts = int64_t{1} << 25;
constexpr int64_t kMostStreams = 8;

// Whether a place has one thread to itself, whoever is beside it, so that its
// numbers depend on it alone.
bool IsSmall(const ProbePlan& plan, int64_t width, const at::Device& device) {
  return !device.is_cpu() ||
         ProblemFit::Products(plan, width) <= kSharedProducts;
}

}  // namespace

PlaceFits::PlaceFits(std::shared_ptr<const ProbePlan> plan, size_t place_count,
                     RowsOf rows_of, int64_t at_once)
    : plan_(std::move(plan)),
      place_count_(place_count),
      rows_of_(std::move(rows_of)),
      at_once_(static_cast<size_t>(at_once)) {}

bool PlaceFits::RunPiece() {
  if (places_.empty()) Begin();
  if (places_.front().probes.has_value()) return false;
  std::vector<Place*> left;
  for (Place& place : places_) {
    if (!place.probes.has_value()) left.push_back(&place);
  }
  if (!on_a_thread_each_) {
    Advance(*left.front());
  } else {
    // Also where one is left, beside nothing: on all threads its products would
    // round otherwise than on one.
    left.resize(std::max<size_t>(left.size(), 2));
    ParallelFor(0, static_cast<int64_t>(left.size()), 1,
                [&](int64_t begin, int64_t end) {
                  for (int64_t i = begin; i < end; ++i) {
                    Place* place = left[static_cast<size_t>(i)];
                    if (place != nullptr) Advance(*place);
                  }
                });
  }
  return !places_.front().probes.has_value();
}

// They begin together, so that their pieces are alike and none waits long for
// the others' to end.
void PlaceFits::Begin() {
  while (places_.size() < at_once_ && (next_ || begun_ < place_count_)) {
    std::vector<at::Tensor> rows =
        next_ ? *std::exchange(next_, std::nullopt) : rows_of_(begun_++);
    const at::Device device = rows.front().device();
    const bool is_small = IsSmall(*plan_, rows.front().size(1), device);
    if (!places_.empty() && !(is_small && on_a_thread_each_)) {
      next_ = std::move(rows);
      return;
    }
    on_a_thread_each_ = is_small;
    Place& place = places_.emplace_back();
    place.rows = std::move(rows);
    if (device.is_cpu()) continue;
    const c10::impl::VirtualGuardImpl guard(device.type());
    guard.getStream(device).synchronize();  // the rows are there
    place.stream = guard.getStreamFromGlobalPool(device);
  }
}

void PlaceFits::Advance(Place& place) const {
  std::optional<c10::StreamGuard> guard;
  if (place.stream.has_value()) guard.emplace(*place.stream);
  AdvanceHere(place);
  if (place.stream.has_value()) place.stream->synchronize();
}

void PlaceFits::AdvanceHere(Place& place) const {
  if (place.fit == nullptr) {
    auto fit = PlaceFit::Create(plan_, std::move(place.rows));
    if (fit.ok()) {
      place.fit = *std::move(fit);
    } else {
      place.probes = fit.status();
    }
    return;
  }
  if (place.fit->RunPiece()) return;
  place.probes = place.fit->Take();
  place.fit.reset();
}

absl::StatusOr<std::vector<FittedProbe>> PlaceFits::Take() {
  absl::StatusOr<std::vector<FittedProbe>> probes =
      *std::move(places_.front().probes);
  places_.pop_front();
  return probes;
}

int64_t PlaceFits::AtOnce(const ProbePlan& plan, int64_t width,
                          const at::Device& device) {
  if (!IsSmall(plan, width, device)) return 1;
  const int64_t threads = at::get_num_threads();
  return device.is_cpu() ? threads : std::min(threads, kMostStreams);
}

}  // namespace dissonance
