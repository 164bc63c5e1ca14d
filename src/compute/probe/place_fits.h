// Fits to many places, a few at once where the calls of one place are too small
// to keep a device busy: a place on each thread of the CPU, or on a stream of
// its own of a GPU. What a place comes
// to does not depend on the others. One thread at a time.
//
//   PlaceFits fits(plan, places.size(), rows_of, at_once);
//   for (size_t place = 0; place < places.size(); ++place) {
//     while (fits.RunPiece()) {
//     }
//     ASSIGN_OR_RETURN(std::vector<FittedProbe> probes, fits.Take());
//   }
#ifndef DISSONANCE_COMPUTE_PROBE_PLACE_FITS_H_
#define DISSONANCE_COMPUTE_PROBE_PLACE_FITS_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "src/compute/probe/place_fit.h"

namespace dissonance {

class PlaceFits {
 public:
  // The rows of a place, as PlaceFit takes them. Called once for each place, in
  // order, by RunPiece.
  using RowsOf = std::function<std::vector<at::Tensor>(size_t place)>;

  // REQUIRES: at_once > 0, as AtOnce says or less.
  PlaceFits(std::shared_ptr<const ProbePlan> plan, size_t place_count,
            RowsOf rows_of, int64_t at_once);

  // Does a piece of each place that is under way. Returns whether the next
  // place has to be waited for still. May throw c10::Error, and is of no use
  // then. REQUIRES: fewer places were taken than there are.
  bool RunPiece();

  // The next place's, in the places' order; once after each time that RunPiece
  // returned false. INVALID_ARGUMENT as PlaceFit's Create and Take.
  absl::StatusOr<std::vector<FittedProbe>> Take();

  // How many of so wide places are fitted at once on a device; on the CPU more
  // than one only of small ones. Each takes PlaceFit::Bytes.
  static int64_t AtOnce(const ProbePlan& plan, int64_t width,
                        const at::Device& device);

 private:
  struct Place {
    std::vector<at::Tensor> rows;       // until it begins
    std::optional<c10::Stream> stream;  // where it is not the CPU
    std::unique_ptr<PlaceFit> fit;      // until it is done
    std::optional<absl::StatusOr<std::vector<FittedProbe>>> probes = {};
  };
  // Begins as many places as are under way at once.
  void Begin();
  void Advance(Place& place) const;
  void AdvanceHere(Place& place) const;  // on the current stream

  const std::shared_ptr<const ProbePlan> plan_;
  const size_t place_count_;
  const RowsOf rows_of_;
  const size_t at_once_;
  size_t begun_ = 0;
  std::deque<Place> places_;       // begun together, less those that were taken
  bool on_a_thread_each_ = false;  // those; else one on all threads
  // Rows of a place that could not begin beside the others.
  std::optional<std::vector<at::Tensor>> next_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_PLACE_FITS_H_
