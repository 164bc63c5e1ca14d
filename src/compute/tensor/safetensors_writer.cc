#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/utf8.h"
#include "src/compute/tensor/safetensors.h"
#include "src/compute/tensor/safetensors_header.h"
#include "src/compute/tensor/safetensors_stream.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

// A tensor that passed the checks.
struct Entry {
  const NamedTensor* tensor = nullptr;
  const SafetensorsDtype* dtype = nullptr;

  const std::string& name() const { return tensor->first; }
  uint64_t bytes() const {
    return static_cast<uint64_t>(tensor->second.nbytes());
  }
};

absl::StatusOr<Entry> CheckEntry(const NamedTensor& named) {
  const auto& [name, tensor] = named;
  const auto error = [&name = name](absl::string_view reason) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", QuoteTensorName(name), ": ", reason));
  };
  if (name == "__metadata__") return error("the name is reserved");
  if (FindInvalidUtf8(name).has_value()) return error("the name is not UTF-8");
  if (!tensor.defined()) return error("is undefined");
  const SafetensorsDtype* dtype = FindSafetensorsDtype(tensor.scalar_type());
  if (dtype == nullptr) {
    return error(absl::StrCat("safetensors has no dtype for ",
                              c10::toString(tensor.scalar_type())));
  }
  return Entry{&named, dtype};
}

// In the order of the file.
absl::StatusOr<std::vector<Entry>> CheckEntries(
    absl::Span<const NamedTensor> tensors) {
  std::vector<Entry> entries;
  std::set<absl::string_view> names;
  for (const NamedTensor& tensor : tensors) {
    ASSIGN_OR_RETURN(entries.emplace_back(), CheckEntry(tensor));
    if (!names.insert(tensor.first).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", QuoteTensorName(tensor.first), ": is given twice"));
    }
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    if (a.dtype->rank != b.dtype->rank) return a.dtype->rank > b.dtype->rank;
    return a.name() < b.name();
  });
  return entries;
}

absl::Status CheckMetadata(const SafetensorsMetadata& metadata) {
  for (const auto& [key, value] : metadata) {
    if (FindInvalidUtf8(key).has_value() ||
        FindInvalidUtf8(value).has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "metadata ", QuoteTensorName(key), ": key or value is not UTF-8"));
    }
  }
  return absl::OkStatus();
}

// Length and JSON, padded with spaces so that the data is 8-byte aligned.
absl::StatusOr<std::string> HeaderOf(const std::vector<Entry>& entries,
                                     const SafetensorsMetadata& metadata) {
  const auto quote = [](const std::string& text) {
    return nlohmann::json(text).dump();
  };
  std::vector<std::string> members;
  if (!metadata.empty()) {
    members.push_back(
        absl::StrCat("\"__metadata__\":", nlohmann::json(metadata).dump()));
  }
  uint64_t begin = 0;
  for (const Entry& entry : entries) {
    const uint64_t end = begin + entry.bytes();
    members.push_back(absl::StrCat(
        quote(entry.name()), ":{\"dtype\":\"", entry.dtype->name,
        "\",\"shape\":[", absl::StrJoin(entry.tensor->second.sizes(), ","),
        "],\"data_offsets\":[", begin, ",", end, "]}"));
    begin = end;
  }
  std::string json = absl::StrCat("{", absl::StrJoin(members, ","), "}");
  json.resize((json.size() + 7) / 8 * 8, ' ');
  const uint64_t length = json.size();
  if (length > kSafetensorsHeaderLimit) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the header of ", length, " bytes is above the format's limit of ",
        kSafetensorsHeaderLimit, " bytes; write several files"));
  }
  std::string header(sizeof(length), '\0');
  std::memcpy(header.data(), &length, sizeof(length));
  return header + json;
}

// Header and tensors, one after another.
absl::Status SendEntries(
    const std::vector<Entry>& entries, const SafetensorsMetadata& metadata,
    absl::FunctionRef<absl::Status(absl::string_view)> sink) {
  ASSIGN_OR_RETURN(const std::string header, HeaderOf(entries, metadata));
  RETURN_IF_ERROR(sink(header));
  for (const Entry& entry : entries) {
    ASSIGN_OR_RETURN(
        const at::Tensor tensor,
        CatchTorch(absl::StrCat("tensor ", QuoteTensorName(entry.name())), [&] {
          return entry.tensor->second.detach()
              .to(at::DeviceType::CPU)
              .resolve_conj()
              .resolve_neg()
              .contiguous();
        }));
    RETURN_IF_ERROR(sink({static_cast<const char*>(tensor.const_data_ptr()),
                          static_cast<size_t>(tensor.nbytes())}));
  }
  return absl::OkStatus();
}

absl::Status WriteEntries(const std::string& path,
                          const std::vector<Entry>& entries,
                          const SafetensorsMetadata& metadata) {
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  RETURN_IF_ERROR(SendEntries(entries, metadata, [&](absl::string_view bytes) {
    return file.Append(bytes);
  }));
  return file.Commit();
}

absl::Status RefuseExistingCheckpoint(const std::string& directory) {
  for (const char* name :
       {"model.safetensors", "model.safetensors.index.json"}) {
    const std::filesystem::path path = std::filesystem::path(directory) / name;
    std::error_code error;
    if (std::filesystem::exists(path, error)) {
      return absl::AlreadyExistsError(absl::StrCat(
          path.string(), " exists; write the checkpoint to another directory"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SerializeSafetensors(
    absl::Span<const NamedTensor> tensors, const SafetensorsMetadata& metadata,
    absl::FunctionRef<absl::Status(absl::string_view)> sink) {
  RETURN_IF_ERROR(CheckMetadata(metadata));
  ASSIGN_OR_RETURN(const std::vector<Entry> entries, CheckEntries(tensors));
  return SendEntries(entries, metadata, sink);
}

absl::Status WriteSafetensors(const std::string& path,
                              absl::Span<const NamedTensor> tensors,
                              const SafetensorsMetadata& metadata) {
  RETURN_IF_ERROR(Annotate(CheckMetadata(metadata), path));
  absl::StatusOr<std::vector<Entry>> entries = CheckEntries(tensors);
  if (!entries.ok()) return Annotate(entries.status(), path);
  return WriteEntries(path, *entries, metadata);
}

absl::Status WriteShardedSafetensors(const std::string& directory,
                                     absl::Span<const NamedTensor> tensors,
                                     const SafetensorsMetadata& metadata,
                                     uint64_t max_shard_bytes) {
  RETURN_IF_ERROR(RefuseExistingCheckpoint(directory));
  RETURN_IF_ERROR(Annotate(CheckMetadata(metadata), directory));
  absl::StatusOr<std::vector<Entry>> entries = CheckEntries(tensors);
  if (!entries.ok()) return Annotate(entries.status(), directory);
  const std::filesystem::path folder(directory);

  std::vector<std::vector<Entry>> shards(1);
  uint64_t shard_bytes = 0;
  uint64_t total_bytes = 0;
  for (const Entry& entry : *entries) {
    if (!shards.back().empty() &&
        shard_bytes + entry.bytes() > max_shard_bytes) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shards.back().push_back(entry);
    shard_bytes += entry.bytes();
    total_bytes += entry.bytes();
  }
  if (shards.size() == 1) {
    return WriteEntries(folder / "model.safetensors", *entries, metadata);
  }
  nlohmann::json weight_map = nlohmann::json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, shards.size());
    RETURN_IF_ERROR(WriteEntries(folder / name, shards[i], metadata));
    for (const Entry& entry : shards[i]) weight_map[entry.name()] = name;
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total_bytes}}},
                                {"weight_map", std::move(weight_map)}};
  return WriteFileAtomically(folder / "model.safetensors.index.json",
                             index.dump(2) + "\n");
}

}  // namespace dissonance
