#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/safetensors.h"
#include "src/compute/tensor/safetensors_header.h"

namespace dissonance {
namespace {

constexpr absl::string_view kSingleFile = "model.safetensors";
constexpr absl::string_view kIndexFile = "model.safetensors.index.json";
// The largest published index has about 10 MB.
constexpr uint64_t kIndexLimitBytes = uint64_t{64} << 20;

using WeightMap = std::map<std::string, std::string>;  // tensor -> shard

std::string PathIn(const std::string& directory, absl::string_view name) {
  return std::filesystem::path(directory) / std::string(name);
}

// A shard lies beside its index, whatever the index says.
bool IsPlainFileName(absl::string_view name) {
  return !name.empty() && name != "." && !absl::StrContains(name, "..") &&
         name.find_first_of(absl::string_view("/\\\0", 3)) ==
             absl::string_view::npos;
}

absl::StatusOr<WeightMap> ReadIndex(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kIndexLimitBytes));
  ASSIGN_OR_RETURN(const nlohmann::json index, ParseJson(text, path));
  if (!index.is_object() || !index.contains("weight_map") ||
      !index["weight_map"].is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": weight_map: missing, or not an object"));
  }
  WeightMap weight_map;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    const auto error = [&path, &name = name](absl::string_view reason) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": weight_map: tensor ", QuoteTensorName(name), ": ", reason));
    };
    if (!shard.is_string()) return error("its shard is not a string");
    const auto& file_name = shard.get_ref<const std::string&>();
    if (!IsPlainFileName(file_name)) {
      return error(absl::StrCat("shard ", QuoteTensorName(file_name),
                                " is not a plain file name"));
    }
    weight_map.emplace(name, file_name);
  }
  if (weight_map.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": weight_map: names no tensors"));
  }
  return weight_map;
}

// Why `directory` has no checkpoint, with what lies there instead.
absl::Status NoCheckpoint(const std::string& directory) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    return absl::NotFoundError(
        absl::StrCat("no model directory at ", directory));
  }
  std::string message = absl::StrCat(directory, " has neither ", kSingleFile,
                                     " nor ", kIndexFile);
  for (const char* pickle :
       {"pytorch_model.bin", "pytorch_model.bin.index.json",
        "consolidated.00.pth"}) {
    if (std::filesystem::exists(PathIn(directory, pickle), error)) {
      absl::StrAppend(&message, ", only ", pickle, ": ", kPickleAdvice);
      break;
    }
  }
  return absl::NotFoundError(message);
}

}  // namespace

absl::StatusOr<std::shared_ptr<Checkpoint>> Checkpoint::Open(
    const std::string& directory) {
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint());
  checkpoint->directory_ = directory;
  std::error_code error;
  if (std::filesystem::exists(PathIn(directory, kSingleFile), error)) {
    ASSIGN_OR_RETURN(auto file,
                     SafetensorsFile::Open(PathIn(directory, kSingleFile)));
    for (const auto& [name, info] : file->tensors()) {
      checkpoint->tensors_.emplace(name, file.get());
    }
    checkpoint->files_.push_back(std::move(file));
  } else if (std::filesystem::exists(PathIn(directory, kIndexFile), error)) {
    RETURN_IF_ERROR(checkpoint->OpenShards(directory));
  } else {
    return NoCheckpoint(directory);
  }
  return checkpoint;
}

absl::Status Checkpoint::OpenShards(const std::string& directory) {
  const std::string index_path = PathIn(directory, kIndexFile);
  ASSIGN_OR_RETURN(const WeightMap weight_map, ReadIndex(index_path));
  std::set<std::string> shard_names;
  for (const auto& [name, shard] : weight_map) shard_names.insert(shard);
  for (const std::string& shard : shard_names) {
    absl::StatusOr<std::shared_ptr<SafetensorsFile>> file =
        SafetensorsFile::Open(PathIn(directory, shard));
    if (!file.ok()) {
      return Annotate(file.status(),
                      absl::StrCat("shard named by ", index_path));
    }
    for (const auto& [name, info] : (*file)->tensors()) {
      const auto error = [&, &name = name](absl::string_view reason) {
        return absl::InvalidArgumentError(
            absl::StrCat((*file)->path(), ": tensor ", QuoteTensorName(name),
                         ": ", reason, " ", index_path));
      };
      const auto listed = weight_map.find(name);
      if (listed == weight_map.end()) return error("is not listed in");
      const auto [other, is_new] = tensors_.emplace(name, file->get());
      if (!is_new) {
        return error(
            absl::StrCat("is also in ", other->second->path(), "; check"));
      }
      if (listed->second != shard) {
        return error(absl::StrCat("is listed in ",
                                  QuoteTensorName(listed->second), " by"));
      }
    }
    files_.push_back(*std::move(file));
  }
  for (const auto& [name, shard] : weight_map) {
    if (!tensors_.contains(name)) {
      return absl::InvalidArgumentError(absl::StrCat(
          index_path, ": tensor ", QuoteTensorName(name), " is not in ", shard,
          "; the checkpoint is incomplete, copy it again"));
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, file] : tensors_) names.push_back(name);
  return names;
}

bool Checkpoint::Contains(absl::string_view name) const {
  return tensors_.find(name) != tensors_.end();
}

absl::StatusOr<TensorInfo> Checkpoint::Info(absl::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return absl::NotFoundError(
        absl::StrCat(directory_, " has no tensor ", QuoteTensorName(name)));
  }
  return found->second->tensors().find(name)->second;
}

absl::StatusOr<at::Tensor> Checkpoint::Load(absl::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return absl::NotFoundError(
        absl::StrCat(directory_, " has no tensor ", QuoteTensorName(name)));
  }
  return found->second->Load(name);
}

uint64_t Checkpoint::TotalBytes() const {
  uint64_t total = 0;
  for (const auto& file : files_) {
    for (const auto& [name, info] : file->tensors()) {
      total += info.end - info.begin;
    }
  }
  return total;
}

absl::StatusOr<std::string> Checkpoint::Digest(DigestCache* cache) const {
  std::vector<std::string> digests;
  for (const auto& file : files_) {
    ASSIGN_OR_RETURN(digests.emplace_back(), file->Digest(cache));
  }
  return digests.size() == 1 ? digests[0]
                             : Sha256Of(absl::StrJoin(digests, "\n"));
}

}  // namespace dissonance
