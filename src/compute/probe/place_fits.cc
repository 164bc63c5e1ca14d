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
  if (left.size() == 1) {
    Advance(*left.front());  // on all threads
  } else {
    ParallelFor(0, static_cast<int64_t>(left.size()), 1,
                [&](int64_t begin, int64_t end) {
                  for (int64_t i = begin; i < end; ++i) {
                    Advance(*left[static_cast<size_t>(i)]);
                  }
                });
  }
  return !places_.front().probes.has_value();
}

// They begin together, so that their pieces are alike and none waits long for
// the others' to end.
void PlaceFits::Begin() {
  const size_t end = std::min(begun_ + at_once_, place_count_);
  for (; begun_ < end; ++begun_) {
    Place& place = places_.emplace_back();
    place.rows = rows_of_(begun_);
    const at::Device device = place.rows.front().device();
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
  const int64_t threads = at::get_num_threads();
  if (!device.is_cpu()) return std::min(threads, kMostStreams);
  return ProblemFit::Products(plan, width) > kSharedProducts ? 1 : threads;
}

}  // namespace dissonance
