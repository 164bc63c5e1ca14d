// Directions of one model that rows are measured along. Immutable, thread
// safe.
//
//   ASSIGN_OR_RETURN(auto meters, Meters::Create(model, request.meters()));
//   ASSIGN_OR_RETURN(task.capture,
//                    PrepareCapture(model, {.places = meters->places()}));
//   for (const Meters::Reading& row : meters->Read(captured)) ...
#ifndef DISSONANCE_SERVER_WORKER_METERS_H_
#define DISSONANCE_SERVER_WORKER_METERS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/common.pb.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "src/compute/interp/capture.h"
#include "src/compute/model/model.h"

namespace dissonance {

class Meters {
 public:
  // What is read of a row.
  struct Reading {
    int64_t position = 0;
    std::vector<double> projections;  // x . u of each meter
  };

  // Null for no meters. INVALID_ARGUMENT, beginning with "meters[1] (truth): ",
  // for a place that the model has not, a vector of another width, one without
  // length or with numbers that are not finite.
  static absl::StatusOr<std::shared_ptr<const Meters>> Create(
      const Model& model,
      const google::protobuf::RepeatedPtrField<v1::Meter>& messages);

  // Of the capture that Read takes rows of.
  const std::vector<SitePlace>& places() const { return places_; }

  // In float64; a row's numbers depend on that row alone. May throw c10::Error.
  std::vector<Reading> Read(const CapturedRows& rows) const;

 private:
  struct Meter {
    size_t place = 0;          // index into places_
    std::vector<double> unit;  // [width], length 1
  };

  Meters() = default;

  std::vector<SitePlace> places_;  // each once
  std::vector<Meter> meters_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_METERS_H_
