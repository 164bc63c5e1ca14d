#include "client/cli/interventions.h"

#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/names.h"
#include "client/cli/places.h"
#include "client/cli/proto_json.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/direction_file.h"
#include "src/lab/tensors/safetensors_reader.h"

namespace dissonance::cli {
namespace {

using Kind = v1::Intervention;

constexpr absl::string_view kSuffix = ".safetensors";

bool TakesVector(InterventionKind kind) {
  return kind == Kind::kAdd || kind == Kind::kReplace ||
         kind == Kind::kProjectOut;
}

// What the number behind "=" is called; nullptr if there is none.
const char* NumberName(InterventionKind kind) {
  if (kind == Kind::kAdd) return "COEF";
  return kind == Kind::kScale ? "FACTOR" : nullptr;
}

absl::Status SetOperation(InterventionKind kind, absl::string_view number,
                          v1::Intervention& message) {
  double value = 0;
  if (NumberName(kind) != nullptr &&
      (!absl::SimpleAtod(number, &value) || !std::isfinite(value))) {
    return absl::InvalidArgumentError(
        number.empty() ? absl::StrCat("has no =", NumberName(kind))
                       : absl::StrCat("'", number, "' is not a number"));
  }
  switch (kind) {
    case Kind::kAdd:
      message.mutable_add()->set_coefficient(value);
      break;
    case Kind::kReplace:
      message.mutable_replace();
      break;
    case Kind::kProjectOut:
      message.mutable_project_out();
      break;
    case Kind::kScale:
      message.mutable_scale()->set_factor(value);
      break;
    default:
      message.mutable_zero();
      break;
  }
  return absl::OkStatus();
}

absl::Status SetPlace(absl::string_view text, v1::Intervention& message) {
  ASSIGN_OR_RETURN(const Place place, ParsePlace(text));
  if (place.site == v1::SITE_PATTERN || place.site == v1::SITE_LOGITS) {
    return absl::InvalidArgumentError(
        absl::StrCat(EnumWord(place.site), " can be captured, not changed"));
  }
  if (BelongsToBlock(place.site) && place.blocks.empty()) {
    return absl::InvalidArgumentError(
        "'all' blocks must be counted: write 0-LAST ('dissonance models show "
        "MODEL' says how many there are)");
  }
  message.set_site(place.site);
  message.mutable_blocks()->Add(place.blocks.begin(), place.blocks.end());
  if (place.head.has_value()) message.set_head(*place.head);
  return absl::OkStatus();
}

// Whether it can only be a direction's name, and no place whose vector was
// forgotten.
bool IsPlainName(absl::string_view text) {
  return IsDirectionName(text) && !ParsePlace(text).ok();
}

absl::Status Parse(InterventionKind kind, absl::string_view text,
                   InterventionSpec& spec) {
  bool has_place = true;
  if (TakesVector(kind)) {
    // A path may hold '@'; what follows the vector can't.
    const size_t at = text.rfind('@');
    has_place = at != absl::string_view::npos;
    const size_t end = has_place ? at : text.find_first_of("=:");
    spec.vector = std::string(text.substr(0, end));
    if (spec.vector.empty() || (!has_place && !IsPlainName(spec.vector))) {
      return absl::InvalidArgumentError("has no VECTOR@");
    }
    text.remove_prefix(has_place ? at + 1 : spec.vector.size());
  }
  if (const size_t at = text.find(':'); at != absl::string_view::npos) {
    ASSIGN_OR_RETURN(*spec.message.mutable_positions(),
                     ParsePositions(text.substr(at + 1)));
    text = text.substr(0, at);
  }
  absl::string_view number;
  if (NumberName(kind) != nullptr) {
    const size_t at = text.find('=');
    if (at != absl::string_view::npos) number = text.substr(at + 1);
    text = text.substr(0, at);
  }
  if (has_place) RETURN_IF_ERROR(SetPlace(text, spec.message));
  return SetOperation(kind, number, spec.message);
}

v1::VectorRef& VectorOf(v1::Intervention& message) {
  switch (message.operation_case()) {
    case Kind::kReplace:
      return *message.mutable_replace();
    case Kind::kProjectOut:
      return *message.mutable_project_out();
    default:
      return *message.mutable_add()->mutable_vector();
  }
}

// Row `row` of a matrix.
v1::Tensor RowOf(const v1::Tensor& matrix, int64_t row) {
  v1::Tensor out;
  out.set_dtype(matrix.dtype());
  out.add_shape(matrix.shape(1));
  const size_t bytes =
      matrix.data().size() / static_cast<size_t>(matrix.shape(0));
  out.set_data(matrix.data().substr(static_cast<size_t>(row) * bytes, bytes));
  return out;
}

// Whether the matrix has a row for each position that is replaced.
bool IsRowPerPosition(const v1::Intervention& message,
                      const v1::Tensor& matrix) {
  return message.operation_case() == Kind::kReplace &&
         message.positions().has_indices() &&
         message.positions().indices().indices_size() == matrix.shape(0);
}

}  // namespace

bool IsDirectionName(absl::string_view vector) {
  return (absl::StartsWith(vector, "directions/") ||
          !absl::StrContains(vector, '/')) &&
         !absl::StrContains(vector, kSuffix);
}

std::string OptionOf(InterventionKind kind) {
  switch (kind) {
    case Kind::kAdd:
      return "steer";
    case Kind::kReplace:
      return "replace";
    case Kind::kProjectOut:
      return "project-out";
    case Kind::kScale:
      return "scale";
    default:
      return "zero";
  }
}

std::string FormOf(InterventionKind kind) {
  const char* number = NumberName(kind);
  return absl::StrCat(TakesVector(kind) ? "VECTOR@" : "", "SITE.BLOCKS[.hHEAD]",
                      number == nullptr ? "" : "=",
                      number == nullptr ? "" : number, "[:POSITIONS]");
}

absl::StatusOr<InterventionSpec> ParseIntervention(InterventionKind kind,
                                                   absl::string_view text) {
  InterventionSpec spec;
  spec.text = absl::StrCat(OptionOf(kind), " ", text);
  if (const absl::Status status = Parse(kind, text, spec); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        text, ": ", status.message(), "; the form is ", FormOf(kind)));
  }
  return spec;
}

absl::StatusOr<std::vector<v1::Intervention>> ReadIntervention(
    const InterventionSpec& spec, bool unit_normalize) {
  if (spec.vector.empty()) return std::vector<v1::Intervention>{spec.message};
  v1::Intervention message = spec.message;
  if (message.has_add()) {
    message.mutable_add()->set_unit_normalize(unit_normalize);
  }
  if (IsDirectionName(spec.vector)) {
    VectorOf(message).set_direction(DirectionName(spec.vector));
    return std::vector<v1::Intervention>{std::move(message)};
  }
  const size_t colon = spec.vector.find(absl::StrCat(kSuffix, ":"));
  const size_t end =
      colon == std::string::npos ? spec.vector.size() : colon + kSuffix.size();
  ASSIGN_OR_RETURN(
      v1::Tensor tensor,
      ReadTensor(spec.vector.substr(0, end),
                 end == spec.vector.size() ? "" : spec.vector.substr(end + 1)));
  if (!message.has_replace()) {
    ASSIGN_OR_RETURN(const std::vector<double> numbers,
                     FiniteNumbersOf(tensor));
    if (absl::c_all_of(numbers, [](double x) { return x == 0; })) {
      return absl::InvalidArgumentError(absl::StrCat(
          spec.vector, ": is all zeros, which tells no direction"));
    }
  }
  VectorOf(message).set_label(spec.vector);
  const int rank = tensor.shape_size();
  if (rank == 2 && tensor.shape(0) == 1) tensor = RowOf(tensor, 0);
  if (rank == 2 && tensor.shape_size() == 2 && HasHeads(message.site()) &&
      !message.has_head()) {
    std::vector<v1::Intervention> heads;
    for (int64_t head = 0; head < tensor.shape(0); ++head) {
      v1::Intervention& one = heads.emplace_back(message);
      one.set_head(static_cast<int32_t>(head));
      *VectorOf(one).mutable_tensor() = RowOf(tensor, head);
    }
    return heads;
  }
  if (tensor.shape_size() != 1 &&
      !(rank == 2 && IsRowPerPosition(message, tensor))) {
    return absl::InvalidArgumentError(absl::StrCat(
        spec.vector, ": has shape [", absl::StrJoin(tensor.shape(), ", "),
        "]; a vector has shape [width] or [1, width]"));
  }
  *VectorOf(message).mutable_tensor() = std::move(tensor);
  return std::vector<v1::Intervention>{std::move(message)};
}

}  // namespace dissonance::cli
