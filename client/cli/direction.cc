#include "client/cli/direction.h"

#include <cmath>
#include <cstring>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "dissonance/v1/common.pb.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/safetensors_reader.h"
#include "src/lab/tensors/safetensors_writer.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kManifestLimitBytes = 64 << 20;
constexpr uint64_t kShardLimitBytes = uint64_t{2} << 30;

absl::StatusOr<nlohmann::json> ReadManifest(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/manifest.json");
  absl::StatusOr<std::string> text = ReadFile(path, kManifestLimitBytes);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrCat(
        directory,
        " is no complete folder of activations (it has no manifest.json); "
        "make one with 'dissonance activations ... --out ",
        directory, "'"));
  }
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(nlohmann::json manifest, ParseJson(*text, path));
  const bool is_ours =
      manifest.is_object() && manifest.contains("kind") &&
      manifest["kind"] == "activations" && manifest.contains("shards") &&
      manifest["shards"].is_array() &&
      absl::c_all_of(manifest["shards"], [](const nlohmann::json& shard) {
        return shard.is_object() && shard.contains("file") &&
               shard["file"].is_string() && shard.contains("row_count") &&
               shard["row_count"].is_number_integer();
      });
  if (!is_ours) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not the manifest of a folder of activations"));
  }
  return manifest;
}

double NumberAt(const v1::Tensor& tensor, int64_t index) {
  if (tensor.dtype() == v1::DTYPE_FLOAT64) {
    double value = 0;
    std::memcpy(&value, tensor.data().data() + index * 8, sizeof(value));
    return value;
  }
  float value = 0;
  std::memcpy(&value, tensor.data().data() + index * 4, sizeof(value));
  return value;
}

// Adds the tensor's rows to the sums in `out`.
absl::Status AddRows(const v1::Tensor& tensor, MeanRow& out) {
  const std::vector<int64_t> shape(tensor.shape().begin() + 1,
                                   tensor.shape().end());
  const int64_t width = ElementCount(shape);
  if (out.row_count == 0) {
    out.shape = shape;
    out.mean.assign(static_cast<size_t>(width), 0.0);
  } else if (out.shape != shape) {
    return absl::DataLossError("its rows have another shape than before");
  }
  for (int64_t row = 0; row < tensor.shape(0); ++row) {
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) {
      const double value = NumberAt(tensor, row * width + i);
      out.mean[static_cast<size_t>(i)] += value;
      squares += value * value;
    }
    out.mean_norm += std::sqrt(squares);
  }
  out.row_count += tensor.shape(0);
  if (std::isfinite(out.mean_norm)) return absl::OkStatus();
  return absl::InvalidArgumentError("holds numbers that are not finite");
}

double Norm(const std::vector<double>& vector) {
  double squares = 0;
  for (const double value : vector) squares += value * value;
  return std::sqrt(squares);
}

std::string ModelDigest(const MeanRow& row) {
  const nlohmann::json::json_pointer at("/provenance/model_digest");
  return row.manifest.contains(at) && row.manifest[at].is_string()
             ? row.manifest[at].get<std::string>()
             : "";
}

}  // namespace

absl::StatusOr<MeanRow> ReadMeanRow(const std::string& directory,
                                    const std::string& place) {
  MeanRow out;
  ASSIGN_OR_RETURN(out.manifest, ReadManifest(directory));
  for (const nlohmann::json& shard : out.manifest["shards"]) {
    const std::string path =
        absl::StrCat(directory, "/", shard["file"].get<std::string>());
    ASSIGN_OR_RETURN(const v1::Tensor tensor,
                     ReadTensor(path, place, kShardLimitBytes));
    if (tensor.shape_size() < 2 ||
        tensor.shape(0) != shard["row_count"].get<int64_t>()) {
      return absl::DataLossError(absl::StrCat(
          path,
          ": has not the rows that manifest.json says; make the folder "
          "again"));
    }
    if (const absl::Status status = AddRows(tensor, out); !status.ok()) {
      return Annotate(status, absl::StrCat(path, ":", place));
    }
  }
  if (out.row_count == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, " holds no rows"));
  }
  const auto count = static_cast<double>(out.row_count);
  for (double& value : out.mean) value /= count;
  out.mean_norm /= count;
  return out;
}

absl::StatusOr<Direction> DifferenceOfMeans(const MeanRow& from,
                                            const MeanRow& minus) {
  if (from.shape != minus.shape || ModelDigest(from) != ModelDigest(minus)) {
    return absl::FailedPreconditionError(
        "the folders are of different base models, whose directions have "
        "nothing to do with each other; capture both with one model");
  }
  std::vector<double> difference = from.mean;
  for (size_t i = 0; i < difference.size(); ++i) difference[i] -= minus.mean[i];
  Direction out;
  out.shape = from.shape;
  out.difference_norm = Norm(difference);
  if (out.difference_norm == 0) {
    return absl::FailedPreconditionError(
        "both means are equal here, so no direction leads from one to the "
        "other; choose another place, or folders that differ");
  }
  for (const double value : difference) {
    out.unit.push_back(static_cast<float>(value / out.difference_norm));
  }
  const auto from_count = static_cast<double>(from.row_count);
  const auto minus_count = static_cast<double>(minus.row_count);
  out.residual_norm =
      (from.mean_norm * from_count + minus.mean_norm * minus_count) /
      (from_count + minus_count);
  return out;
}

}  // namespace dissonance::cli
