#include "client/cli/meter_option.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/cli/interventions.h"
#include "client/cli/names.h"
#include "client/cli/places.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/safetensors_reader.h"

namespace dissonance::cli {
namespace {

constexpr absl::string_view kSuffix = ".safetensors";

absl::Status SetPlace(absl::string_view text, v1::SiteRef& out) {
  ASSIGN_OR_RETURN(const Place place, ParsePlace(text));
  if (place.head.has_value()) {
    return absl::InvalidArgumentError(
        "a meter reads all heads of a site together; leave the head out");
  }
  out.set_site(place.site);
  if (!BelongsToBlock(place.site)) return absl::OkStatus();
  if (place.blocks.size() != 1) {
    return absl::InvalidArgumentError("expected one block");
  }
  out.set_block(place.blocks.front());
  return absl::OkStatus();
}

// FILE.safetensors[:TENSOR].
absl::StatusOr<v1::Tensor> ReadFileVector(absl::string_view vector) {
  const size_t colon = vector.find(absl::StrCat(kSuffix, ":"));
  if (colon == absl::string_view::npos) {
    return ReadTensor(std::string(vector), /*name=*/"");
  }
  const size_t end = colon + kSuffix.size();
  return ReadTensor(std::string(vector.substr(0, end)),
                    std::string(vector.substr(end + 1)));
}

}  // namespace

absl::StatusOr<v1::Meter> ReadMeter(absl::string_view text) {
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat(text, ": ", what, "; the form is ", kMeterForm));
  };
  v1::Meter meter;
  meter.set_name(std::string(text));
  // A path may hold '@'; a place can't.
  const size_t at = text.rfind('@');
  const absl::string_view vector = text.substr(0, at);
  if (vector.empty()) return wrong("it names no direction");
  if (at != absl::string_view::npos) {
    const absl::Status placed =
        SetPlace(text.substr(at + 1), *meter.mutable_place());
    if (!placed.ok()) return wrong(placed.message());
  }
  if (IsDirectionName(vector)) {
    meter.mutable_vector()->set_direction(DirectionName(std::string(vector)));
    return meter;
  }
  if (!meter.has_place()) {
    return wrong("a file's vector has no place of its own");
  }
  ASSIGN_OR_RETURN(*meter.mutable_vector()->mutable_tensor(),
                   ReadFileVector(vector));
  return meter;
}

}  // namespace dissonance::cli
