#include "src/lab/tensors/direction_file.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/place_name.h"
#include "src/lab/tensors/safetensors_reader.h"
#include "src/lab/tensors/safetensors_writer.h"

namespace dissonance {
namespace {

// A vector of this length, give or take, is taken as it is: float32 numbers
// that were made length 1 once are so only up to their rounding.
constexpr double kLengthTolerance = 1e-6;
constexpr int kPlacesShown = 8;

template <typename T>
std::vector<double> Widened(const std::string& bytes) {
  std::vector<double> numbers(bytes.size() / sizeof(T));
  for (size_t i = 0; i < numbers.size(); ++i) {
    T value = 0;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    numbers[i] = static_cast<double>(value);
  }
  return numbers;
}

double LengthOf(const std::vector<double>& numbers) {
  double squares = 0;
  for (const double value : numbers) squares += value * value;
  return std::sqrt(squares);
}

absl::Status CheckPlace(const v1::SiteRef& place) {
  const bool is_known =
      v1::Site_IsValid(place.site()) && place.site() != v1::SITE_UNSPECIFIED;
  if (!is_known || place.site() == v1::SITE_PATTERN ||
      place.site() == v1::SITE_LOGITS) {
    return absl::InvalidArgumentError(
        absl::StrCat("place.site: ", SiteName(place.site()),
                     " can't be steered; give one such as SITE_RESID_POST"));
  }
  if (IsInBlocks(place.site()) && (!place.has_block() || place.block() < 0)) {
    return absl::InvalidArgumentError(
        "place.block: give the block that the vector was found in, from 0");
  }
  return absl::OkStatus();
}

absl::Status CheckShape(const v1::DirectionVector& vector) {
  const int rank = vector.vector().shape_size();
  if (rank == 1 || (rank == 2 && IsByHead(vector.place().site()))) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "vector: has shape [", absl::StrJoin(vector.vector().shape(), ", "),
      "]; give [width], or [heads, head_dim] of a site with heads"));
}

absl::Status CheckScales(const v1::DirectionVector& vector) {
  const bool is_good = std::isfinite(vector.norm()) && vector.norm() >= 0 &&
                       std::isfinite(vector.residual_norm()) &&
                       vector.residual_norm() >= 0 &&
                       std::isfinite(vector.bias());
  return is_good ? absl::OkStatus()
                 : absl::InvalidArgumentError(
                       "norm, residual_norm and bias have to be finite, and "
                       "both norms not negative");
}

absl::Status NormalizeOne(v1::DirectionVector& vector) {
  RETURN_IF_ERROR(CheckPlace(vector.place()));
  RETURN_IF_ERROR(CheckShape(vector));
  RETURN_IF_ERROR(CheckScales(vector));
  ASSIGN_OR_RETURN(const std::vector<double> numbers,
                   FiniteNumbersOf(vector.vector()));
  const double length = LengthOf(numbers);
  if (!(length > 0) || !std::isfinite(length)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "vector: has a length of ", length, ", which tells no direction"));
  }
  const double scale = std::abs(length - 1) <= kLengthTolerance ? 1 : length;
  std::vector<float> unit;
  unit.reserve(numbers.size());
  for (const double value : numbers) {
    unit.push_back(static_cast<float>(value / scale));
  }
  vector.mutable_vector()->set_dtype(v1::DTYPE_FLOAT32);
  vector.mutable_vector()->set_data(unit.data(), unit.size() * sizeof(float));
  if (vector.norm() == 0) vector.set_norm(length);
  if (!IsInBlocks(vector.place().site())) {
    vector.mutable_place()->clear_block();
  }
  return absl::OkStatus();
}

int64_t WidthOf(const v1::DirectionVector& vector) {
  return static_cast<int64_t>(vector.vector().data().size() / sizeof(float));
}

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat("the file of the direction ", what,
                   "; restore it from a backup, or make the direction again"));
}

double NumberIn(const nlohmann::json& scales, const char* key) {
  const auto found = scales.find(key);
  return found != scales.end() && found->is_number() ? found->get<double>() : 0;
}

}  // namespace

absl::StatusOr<std::vector<double>> FiniteNumbersOf(const v1::Tensor& tensor) {
  const auto bytes = static_cast<size_t>(ElementBytes(tensor.dtype()));
  if (tensor.dtype() != v1::DTYPE_FLOAT32 &&
      tensor.dtype() != v1::DTYPE_FLOAT64) {
    return absl::InvalidArgumentError(
        "vector.dtype: give DTYPE_FLOAT32 or DTYPE_FLOAT64");
  }
  size_t left = tensor.data().size() / bytes;
  bool fits = tensor.data().size() % bytes == 0 && left > 0;
  for (const int64_t size : tensor.shape()) {
    fits = fits && size > 0 && left % static_cast<size_t>(size) == 0;
    if (fits) left /= static_cast<size_t>(size);
  }
  if (!fits || left != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "vector.data: has ", tensor.data().size(), " bytes, which are not the ",
        "numbers of shape [", absl::StrJoin(tensor.shape(), ", "), "]"));
  }
  std::vector<double> numbers = tensor.dtype() == v1::DTYPE_FLOAT32
                                    ? Widened<float>(tensor.data())
                                    : Widened<double>(tensor.data());
  for (const double value : numbers) {
    if (std::isfinite(value)) continue;
    return absl::InvalidArgumentError(
        "vector.data: holds numbers that are not finite");
  }
  return numbers;
}

absl::Status NormalizeVectors(v1::Direction& direction) {
  const int count = direction.vectors_size();
  if (count < 1 || count > kDirectionPlaceLimit) {
    return absl::InvalidArgumentError(absl::StrCat(
        "vectors: expected 1 to ", kDirectionPlaceLimit, ", found ", count));
  }
  std::set<std::string> places;
  direction.clear_places();
  for (int i = 0; i < count; ++i) {
    v1::DirectionVector& vector = *direction.mutable_vectors(i);
    const std::string where = absl::StrCat("vectors[", i, "]");
    RETURN_IF_ERROR(Annotate(NormalizeOne(vector), where));
    const std::string place = PlaceName(vector.place());
    if (!places.insert(place).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          where, ": there is another vector at ", place, "; give one"));
    }
    if (i == 0) direction.set_width(WidthOf(vector));
    if (WidthOf(vector) != direction.width()) {
      return absl::InvalidArgumentError(absl::StrCat(
          where, ": has ", WidthOf(vector), " numbers and the first vector ",
          direction.width(), "; make a direction of its own for each width"));
    }
    *direction.add_places() = vector.place();
  }
  return absl::OkStatus();
}

std::string DirectionFile(const v1::Direction& direction) {
  std::vector<TensorEntry> tensors;
  nlohmann::json scales = nlohmann::json::object();
  std::string data;
  for (const v1::DirectionVector& vector : direction.vectors()) {
    const std::string place = PlaceName(vector.place());
    tensors.push_back(
        {place,
         v1::DTYPE_FLOAT32,
         {vector.vector().shape().begin(), vector.vector().shape().end()}});
    scales[place] = {{"norm", vector.norm()},
                     {"residual_norm", vector.residual_norm()},
                     {"bias", vector.bias()}};
    data += vector.vector().data();
  }
  return SafetensorsHeader(
             tensors, {{"method", v1::DirectionMethod_Name(direction.method())},
                       {"model", direction.model()},
                       {"places", scales.dump()},
                       {"source", direction.source_json()}}) +
         data;
}

absl::Status ReadDirectionFile(std::string bytes, v1::Direction& direction) {
  absl::StatusOr<TensorFile> file =
      TensorFile::Parse(std::move(bytes), direction.name());
  if (!file.ok()) return Damaged("is no safetensors file");
  const auto found = file->metadata().find("places");
  nlohmann::json scales = nlohmann::json::object();
  if (found != file->metadata().end()) {
    ASSIGN_OR_RETURN(scales, ParseJson(found->second, "places"));
  }
  direction.clear_vectors();
  for (const v1::SiteRef& place : direction.places()) {
    const std::string name = PlaceName(place);
    absl::StatusOr<v1::Tensor> tensor = file->Read(name);
    if (!tensor.ok()) return Damaged(absl::StrCat("lacks ", name));
    v1::DirectionVector& vector = *direction.add_vectors();
    *vector.mutable_place() = place;
    *vector.mutable_vector() = *std::move(tensor);
    const nlohmann::json own = scales.value(name, nlohmann::json::object());
    vector.set_norm(NumberIn(own, "norm"));
    vector.set_residual_norm(NumberIn(own, "residual_norm"));
    vector.set_bias(NumberIn(own, "bias"));
  }
  return absl::OkStatus();
}

std::string PlacesText(const v1::Direction& direction) {
  std::vector<std::string> names;
  for (const v1::SiteRef& place : direction.places()) {
    if (names.size() == kPlacesShown) break;
    names.push_back(PlaceName(place));
  }
  const int more = direction.places_size() - static_cast<int>(names.size());
  return absl::StrCat(absl::StrJoin(names, ", "),
                      more > 0 ? absl::StrCat(" and ", more, " more") : "");
}

}  // namespace dissonance
