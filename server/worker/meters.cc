#include "server/worker/meters.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "server/worker/interp_messages.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

constexpr int kMaxMeters = 100;
constexpr size_t kLanes = 8;

// In an order of its own that no neighbour changes; several sums at once,
// which a processor can add in parallel.
double Dot(absl::Span<const double> a, absl::Span<const double> b) {
  double sums[kLanes] = {};
  const size_t whole = a.size() / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += a[i + lane] * b[i + lane];
    }
  }
  for (size_t i = whole; i < a.size(); ++i) sums[0] += a[i] * b[i];
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

absl::StatusOr<std::vector<double>> UnitOf(const Model& model, Site site,
                                           const v1::VectorRef& vector) {
  ASSIGN_OR_RETURN(const at::Tensor given, VectorOf(vector));
  const int64_t width = std::max<int64_t>(SiteHeads(model.spec(), site), 1) *
                        SiteWidth(model.spec(), site);
  if (given.numel() != width) {
    return absl::InvalidArgumentError(absl::StrCat(
        "vector: it has shape [", absl::StrJoin(given.sizes(), ", "), "], ",
        SiteName(site), " of this model has ", width, " numbers"));
  }
  std::vector<double> unit;
  RETURN_IF_ERROR(CatchTorch("vector", [&] {
    const at::Tensor wide = given.to(at::kDouble).contiguous();
    unit.assign(wide.const_data_ptr<double>(),
                wide.const_data_ptr<double>() + width);
  }));
  const double length = std::sqrt(Dot(unit, unit));
  if (!std::isfinite(length)) {
    return absl::InvalidArgumentError("vector: it holds NaN or infinity");
  }
  if (length == 0.0) {
    return absl::InvalidArgumentError("vector: it has no length");
  }
  for (double& x : unit) x /= length;
  return unit;
}

std::string LabelOf(const v1::Meter& meter, int index) {
  return meter.name().empty()
             ? absl::StrCat("meters[", index, "]")
             : absl::StrCat("meters[", index, "] (", meter.name(), ")");
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Meters>> Meters::Create(
    const Model& model,
    const google::protobuf::RepeatedPtrField<v1::Meter>& messages) {
  if (messages.empty()) return nullptr;
  if (messages.size() > kMaxMeters) {
    return absl::InvalidArgumentError(absl::StrCat(
        "meters: expected at most ", kMaxMeters, ", found ", messages.size()));
  }
  std::shared_ptr<Meters> out(new Meters);
  for (int i = 0; i < messages.size(); ++i) {
    const std::string label = LabelOf(messages[i], i);
    const absl::StatusOr<SitePlace> place = PlaceOf(model, messages[i].place());
    if (!place.ok()) {
      return Annotate(place.status(), absl::StrCat(label, ": place"));
    }
    if (place->site == Site::kPattern || place->site == Site::kLogits) {
      return absl::InvalidArgumentError(
          absl::StrCat(label, ": place: ", SiteName(place->site),
                       " has no directions to measure along"));
    }
    absl::StatusOr<std::vector<double>> unit =
        UnitOf(model, place->site, messages[i].vector());
    if (!unit.ok()) return Annotate(unit.status(), label);
    const auto found = absl::c_find(out->places_, *place);
    const auto index = static_cast<size_t>(found - out->places_.begin());
    if (found == out->places_.end()) out->places_.push_back(*place);
    out->meters_.push_back({.place = index, .unit = *std::move(unit)});
  }
  return out;
}

std::vector<Meters::Reading> Meters::Read(const CapturedRows& rows) const {
  std::vector<at::Tensor> wide;  // of each place [rows, width]
  for (const at::Tensor& own : rows.values) {
    wide.push_back(own.to(at::kCPU, at::kDouble).flatten(1).contiguous());
  }
  std::vector<Reading> readings;
  for (size_t row = 0; row < rows.positions.size(); ++row) {
    Reading& reading = readings.emplace_back();
    reading.position = rows.positions[row];
    for (const Meter& meter : meters_) {
      const double* begin =
          wide[meter.place].const_data_ptr<double>() + row * meter.unit.size();
      reading.projections.push_back(
          Dot(absl::MakeConstSpan(begin, meter.unit.size()), meter.unit));
    }
  }
  return readings;
}

}  // namespace dissonance
