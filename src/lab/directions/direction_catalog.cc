#include "src/lab/directions/direction_catalog.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/protobuf/util/time_util.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/artifacts/artifact_reader.h"
#include "src/lab/storage/user_store.h"
#include "src/lab/tensors/direction_file.h"

namespace dissonance {
namespace {

constexpr absl::string_view kPrefix = "directions/";
constexpr char kMediaType[] = "application/vnd.safetensors";
constexpr size_t kNameLimit = 64;
constexpr size_t kSourceLimitBytes = 64 << 10;
constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;

absl::Status NoSuch(const std::string& name) {
  return absl::NotFoundError(
      absl::StrCat("no direction ", name,
                   "; make it first ('dissonance direction make'), or ask "
                   "whose it is to share it"));
}

bool IsOwn(const Viewer& viewer, const v1::Direction& direction) {
  return viewer.sees_all || direction.owner() == NameOfUser(viewer.user);
}

absl::Status CheckSource(const std::string& source_json) {
  if (source_json.empty()) return absl::OkStatus();
  if (source_json.size() > kSourceLimitBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("source_json: has ", source_json.size(),
                     " bytes; at most ", kSourceLimitBytes));
  }
  ASSIGN_OR_RETURN(const nlohmann::json source,
                   ParseJson(source_json, "source_json"));
  if (source.is_object()) return absl::OkStatus();
  return absl::InvalidArgumentError("source_json: not a JSON object");
}

// A vector that is compared, at length 1.
struct Compared {
  std::vector<double> numbers;
};

double Cosine(const Compared& a, const Compared& b) {
  if (a.numbers.size() != b.numbers.size()) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  double product = 0;
  double square_a = 0;
  double square_b = 0;
  for (size_t i = 0; i < a.numbers.size(); ++i) {
    product += a.numbers[i] * b.numbers[i];
    square_a += a.numbers[i] * a.numbers[i];
    square_b += b.numbers[i] * b.numbers[i];
  }
  return product / std::sqrt(square_a * square_b);
}

}  // namespace

absl::Status CheckDirectionName(absl::string_view name) {
  absl::string_view last = name;
  const bool has_prefix = absl::ConsumePrefix(&last, kPrefix);
  const bool is_plain = std::all_of(last.begin(), last.end(), [](const char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' ||
           c == '_' || c == '.';
  });
  if (has_prefix && is_plain && !last.empty() && last.size() <= kNameLimit) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("name: expected directions/NAME, with at most ", kNameLimit,
                   " letters, digits, '-', '_' and '.' as NAME"));
}

absl::Status DirectionCatalog::CheckFree(const std::string& name) {
  RETURN_IF_ERROR(CheckDirectionName(name));
  const absl::Status found = store_.Get(name).status();
  if (absl::IsNotFound(found)) return absl::OkStatus();
  RETURN_IF_ERROR(found);
  return absl::AlreadyExistsError(absl::StrCat(
      "the name ", name, " is taken: choose another, or delete what has it"));
}

absl::StatusOr<v1::Direction> DirectionCatalog::Create(
    const ArtifactOwner& owner, v1::Direction direction) {
  RETURN_IF_ERROR(CheckFree(direction.name()));
  RETURN_IF_ERROR(CheckSource(direction.source_json()));
  RETURN_IF_ERROR(NormalizeVectors(direction));
  ASSIGN_OR_RETURN(const v1::Artifact artifact,
                   artifacts_.Put(DirectionFile(direction), kMediaType, owner));
  direction.set_artifact(artifact.name());
  direction.set_owner(NameOfUser(owner.user));
  *direction.mutable_create_time() =
      google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(
          absl::ToUnixMicros(clock_.Now()));
  RETURN_IF_ERROR(store_.Create(direction));
  return direction;
}

absl::StatusOr<v1::Direction> DirectionCatalog::Find(const Viewer& viewer,
                                                     const std::string& given) {
  const std::string name =
      absl::StartsWith(given, kPrefix) ? given : absl::StrCat(kPrefix, given);
  absl::StatusOr<v1::Direction> direction = store_.Get(name);
  if (absl::IsNotFound(direction.status())) return NoSuch(name);
  RETURN_IF_ERROR(direction.status());
  if (!direction->shared() && !IsOwn(viewer, *direction)) return NoSuch(name);
  return direction;
}

absl::StatusOr<v1::Direction> DirectionCatalog::Get(const Viewer& viewer,
                                                    const std::string& name) {
  ASSIGN_OR_RETURN(v1::Direction direction, Find(viewer, name));
  // Whoever sees the direction sees its file.
  ASSIGN_OR_RETURN(const ArtifactReader reader,
                   artifacts_.Open(direction.artifact()));
  ASSIGN_OR_RETURN(std::string bytes,
                   reader.Read(0, reader.artifact().size_bytes()));
  RETURN_IF_ERROR(
      Annotate(ReadDirectionFile(std::move(bytes), direction), name));
  return direction;
}

absl::StatusOr<v1::ListDirectionsResponse> DirectionCatalog::List(
    const Viewer& viewer, const v1::ListDirectionsRequest& request) {
  if (request.page_size() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size is ", request.page_size(),
                     "; give 0 for the default, or 1 to ", kMaxPageSize));
  }
  const int limit = request.page_size() == 0
                        ? kDefaultPageSize
                        : std::min(request.page_size(), kMaxPageSize);
  ASSIGN_OR_RETURN(std::vector<v1::Direction> directions,
                   store_.List(viewer, request.page_token(), limit + 1));
  v1::ListDirectionsResponse response;
  if (directions.size() > static_cast<size_t>(limit)) {
    directions.pop_back();
    response.set_next_page_token(directions.back().name());
  }
  for (v1::Direction& direction : directions) {
    *response.add_directions() = std::move(direction);
  }
  return response;
}

absl::Status DirectionCatalog::Delete(const Viewer& viewer,
                                      const std::string& name) {
  ASSIGN_OR_RETURN(const v1::Direction direction, Find(viewer, name));
  if (!IsOwn(viewer, direction)) {
    return absl::PermissionDeniedError(
        absl::StrCat(name, " belongs to ", direction.owner(),
                     ", who alone may delete it, beside administrators"));
  }
  const absl::Status deleted = store_.Delete(direction);
  return absl::IsNotFound(deleted) ? NoSuch(name) : deleted;
}

absl::StatusOr<v1::CompareDirectionsResponse> DirectionCatalog::Compare(
    const Viewer& viewer, absl::Span<const std::string> names) {
  v1::CompareDirectionsResponse response;
  std::vector<Compared> vectors;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const v1::Direction direction, Get(viewer, name));
    for (const v1::DirectionVector& vector : direction.vectors()) {
      if (vectors.size() == kComparedLimit) {
        return absl::InvalidArgumentError(
            absl::StrCat("names: the directions have more than ",
                         kComparedLimit, " vectors; compare fewer"));
      }
      ASSIGN_OR_RETURN(std::vector<double> numbers,
                       FiniteNumbersOf(vector.vector()));
      vectors.push_back({std::move(numbers)});
      v1::ComparedVector& label = *response.add_vectors();
      label.set_direction(name);
      *label.mutable_place() = vector.place();
    }
  }
  if (vectors.size() < 2) {
    return absl::InvalidArgumentError(
        "names: give two directions or more, or one with several places");
  }
  for (const Compared& row : vectors) {
    for (const Compared& column : vectors) {
      response.add_cosines(Cosine(row, column));
    }
  }
  return response;
}

}  // namespace dissonance
