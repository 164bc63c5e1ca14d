#include "client/cli/meter_option.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/places.h"
#include "client/cli/safetensors_reader.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr absl::string_view kSuffix = ".safetensors";
constexpr absl::string_view kCollection = "directions/";

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

// Whether `vector` is a file's; splits "FILE.safetensors:TENSOR".
bool IsFile(absl::string_view vector, std::string& file, std::string& tensor) {
  const size_t colon = vector.find(absl::StrCat(kSuffix, ":"));
  if (colon == absl::string_view::npos && !absl::EndsWith(vector, kSuffix)) {
    return false;
  }
  const size_t end =
      colon == absl::string_view::npos ? vector.size() : colon + kSuffix.size();
  file = std::string(vector.substr(0, end));
  if (end < vector.size()) tensor = std::string(vector.substr(end + 1));
  return true;
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
  std::string file;
  std::string tensor;
  if (!IsFile(vector, file, tensor)) {
    meter.mutable_vector()->set_direction(
        absl::StrCat(kCollection, absl::StripPrefix(vector, kCollection)));
    return meter;
  }
  if (!meter.has_place()) {
    return wrong("a file's vector has no place of its own");
  }
  ASSIGN_OR_RETURN(*meter.mutable_vector()->mutable_tensor(),
                   ReadTensor(file, tensor));
  return meter;
}

}  // namespace dissonance::cli
