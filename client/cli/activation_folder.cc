#include "client/cli/activation_folder.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/output.h"
#include "client/cli/proto_json.h"
#include "src/base/json_lines.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr char kMetadata[] = "metadata.jsonl";
constexpr char kManifest[] = "manifest.json";

// Whether the folder had to be made.
absl::StatusOr<bool> MakeEmptyFolder(const std::string& directory) {
  std::error_code error;
  const bool exists = std::filesystem::exists(directory, error);
  RETURN_IF_ERROR(MakeDirectories(directory));
  const bool is_empty = std::filesystem::is_empty(directory, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot look into ", directory, ": ", error.message()));
  }
  if (is_empty) return !exists;
  const bool is_complete =
      std::filesystem::exists(absl::StrCat(directory, "/", kManifest), error);
  return absl::FailedPreconditionError(absl::StrCat(
      directory, is_complete ? " holds results already" : " is not empty",
      "; name another folder, or remove it first"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ActivationFolder>> ActivationFolder::Create(
    const std::string& directory, int64_t shard_bytes) {
  ASSIGN_OR_RETURN(const bool made, MakeEmptyFolder(directory));
  ASSIGN_OR_RETURN(ActivationShard shard, ActivationShard::Create(directory));
  ASSIGN_OR_RETURN(AtomicFile metadata,
                   AtomicFile::Create(absl::StrCat(directory, "/", kMetadata)));
  return std::unique_ptr<ActivationFolder>(new ActivationFolder(
      directory, made, shard_bytes, std::move(shard), std::move(metadata)));
}

ActivationFolder::ActivationFolder(std::string directory, bool made,
                                   int64_t shard_bytes, ActivationShard shard,
                                   AtomicFile metadata)
    : directory_(std::move(directory)),
      made_(made),
      shard_bytes_(shard_bytes),
      shard_(std::move(shard)),
      metadata_(std::move(metadata)) {}

ActivationFolder::~ActivationFolder() {
  if (finished_) return;
  for (const std::string& path : written_) ::unlink(path.c_str());
  // Drops the temporary file, without which the folder is empty.
  { const AtomicFile dropped = std::move(metadata_); }
  if (made_) ::rmdir(directory_.c_str());
}

std::string ActivationFolder::Path(const std::string& file) const {
  return absl::StrCat(directory_, "/", file);
}

absl::Status ActivationFolder::Announce(const v1::ActivationRows& rows,
                                        absl::Span<const InputRow> inputs) {
  RETURN_IF_ERROR(shard_.Announce(rows));
  for (const v1::RowLabel& row : rows.rows()) {
    const auto index = static_cast<size_t>(row.input_index());
    if (index >= inputs.size()) {
      return absl::InternalError(absl::StrCat(
          "the server sent rows of request ", row.input_index(), ", of ",
          inputs.size(), "; are client and server of the same version?"));
    }
    nlohmann::json labels = nlohmann::json::object();
    for (const auto& [key, value] : inputs[index].input.labels()) {
      labels[key] = value;
    }
    absl::StrAppend(&pending_lines_,
                    ToJsonLine({{"row", row_count_ + pending_rows_},
                                {"request", row.input_index()},
                                {"position", row.position()},
                                {"token_id", row.token_id()},
                                {"id", inputs[index].id},
                                {"labels", std::move(labels)},
                                {"generated", row.generated()}}));
    ++pending_rows_;
  }
  return absl::OkStatus();
}

absl::Status ActivationFolder::Add(const v1::ActivationChunk& chunk) {
  return shard_.Add(chunk);
}

absl::Status ActivationFolder::Keep() {
  RETURN_IF_ERROR(shard_.Keep());
  RETURN_IF_ERROR(metadata_.Append(pending_lines_));
  row_count_ += std::exchange(pending_rows_, 0);
  pending_lines_.clear();
  return shard_.byte_count() < shard_bytes_ ? absl::OkStatus() : EndShard();
}

absl::Status ActivationFolder::Drop() {
  pending_lines_.clear();
  pending_rows_ = 0;
  return shard_.Drop();
}

absl::StatusOr<std::string> ActivationFolder::Written(const std::string& file) {
  written_.push_back(Path(file));
  std::error_code error;
  byte_count_ +=
      static_cast<int64_t>(std::filesystem::file_size(Path(file), error));
  return Sha256OfFile(Path(file));
}

absl::Status ActivationFolder::EndShard() {
  const int64_t rows = shard_.row_count();
  if (rows == 0) return absl::OkStatus();
  const std::string file =
      absl::StrFormat("activations-%05d.safetensors", shards_.size());
  RETURN_IF_ERROR(shard_.Write(Path(file)));
  ASSIGN_OR_RETURN(const std::string digest, Written(file));
  shards_.push_back({{"file", file},
                     {"first_row", row_count_ - rows},
                     {"row_count", rows},
                     {"sha256", digest}});
  return absl::OkStatus();
}

absl::Status ActivationFolder::Finish(nlohmann::json manifest) {
  RETURN_IF_ERROR(Drop());
  RETURN_IF_ERROR(EndShard());
  RETURN_IF_ERROR(metadata_.Commit());
  ASSIGN_OR_RETURN(const std::string digest, Written(kMetadata));
  manifest["metadata"] = {{"file", kMetadata}, {"sha256", digest}};
  manifest["row_count"] = row_count_;
  manifest["dtype"] = EnumWord(shard_.dtype());
  manifest["shards"] = shards_;
  RETURN_IF_ERROR(WriteFileAtomically(Path(kManifest), ToIndented(manifest)));
  finished_ = true;
  return absl::OkStatus();
}

}  // namespace dissonance::cli
