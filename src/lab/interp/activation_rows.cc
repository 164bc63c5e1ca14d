#include "src/lab/interp/activation_rows.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/status_macros.h"
#include "src/lab/tensors/place_name.h"
#include "src/lab/tensors/safetensors_reader.h"

namespace dissonance {
namespace {

// Of one tensor of one shard.
constexpr uint64_t kLimitBytes = uint64_t{1} << 30;

// Puts `part` behind `rows`.
absl::Status Append(const v1::Tensor& part, v1::Tensor& rows) {
  int64_t width = 1;
  for (int i = 1; i < part.shape_size(); ++i) width *= part.shape(i);
  if (rows.shape().empty()) {
    rows.set_dtype(part.dtype());
    rows.add_shape(0);
    rows.add_shape(width);
  }
  if (rows.dtype() != part.dtype() || rows.shape(1) != width) {
    return absl::DataLossError("shards differ in width or type");
  }
  rows.set_shape(0, rows.shape(0) + part.shape(0));
  rows.mutable_data()->append(part.data());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::Tensor> ReadActivationRows(FinishedJobs& jobs,
                                              const v1::Job& job,
                                              const std::string& variant,
                                              const v1::SiteRef& place) {
  std::vector<std::string> shards;
  for (const v1::JobOutput& output : job.outputs()) {
    if (absl::StartsWith(output.file_name(),
                         absl::StrCat(variant, "/activations-"))) {
      shards.push_back(output.file_name());
    }
  }
  std::sort(shards.begin(), shards.end());
  if (shards.empty()) {
    return absl::NotFoundError(absl::StrCat(job.name(),
                                            " has no activations of ", variant,
                                            " any more; run it again"));
  }
  v1::Tensor rows;
  for (const std::string& shard : shards) {
    ASSIGN_OR_RETURN(std::string bytes, jobs.ReadOutput(job, shard));
    ASSIGN_OR_RETURN(TensorFile file,
                     TensorFile::Parse(std::move(bytes), shard));
    ASSIGN_OR_RETURN(const v1::Tensor part,
                     file.Read(PlaceName(place), kLimitBytes));
    RETURN_IF_ERROR(Annotate(Append(part, rows), shard));
  }
  return rows;
}

absl::StatusOr<int64_t> WidestRowsBytes(FinishedJobs& jobs, const v1::Job& job,
                                        const std::string& variant) {
  const std::string name = absl::StrCat(variant, "/manifest.json");
  ASSIGN_OR_RETURN(const std::string text, jobs.ReadOutput(job, name));
  try {
    const auto manifest = nlohmann::json::parse(text);
    // Narrower numbers are widened to float32 as they are read.
    int64_t bytes = manifest.at("dtype") == "float64" ? 8 : 4;
    bytes *= manifest.at("row_count").get<int64_t>();
    int64_t widest = 0;
    for (const auto& place : manifest.at("places")) {
      int64_t width = 1;
      for (const auto& size : place.at("row_shape")) {
        width *= size.get<int64_t>();
      }
      widest = std::max(widest, width);
    }
    return bytes * widest;
  } catch (const nlohmann::json::exception& e) {
    return absl::DataLossError(absl::StrCat(
        job.name(), ": ", name, ": not one of activations: ", e.what()));
  }
}

}  // namespace dissonance
