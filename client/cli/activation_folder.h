// A folder of activations while it is written: shards, metadata.jsonl with one
// line a row, and at the very end manifest.json, so that a folder with a
// manifest is complete. Not thread safe. Without Finish the files that it wrote
// are removed again.
//
//   ASSIGN_OR_RETURN(auto folder, ActivationFolder::Create("acts", 1 << 30));
//   RETURN_IF_ERROR(folder->Announce(rows, inputs));
//   RETURN_IF_ERROR(folder->Add(chunk));
//   RETURN_IF_ERROR(folder->Keep());       // a request is complete
//   RETURN_IF_ERROR(folder->Finish(manifest));
#ifndef DISSONANCE_CLIENT_CLI_ACTIVATION_FOLDER_H_
#define DISSONANCE_CLIENT_CLI_ACTIVATION_FOLDER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cli/activation_manifest.h"
#include "client/cli/activation_shard.h"
#include "client/cli/input_rows.h"
#include "dissonance/v1/interpretability.pb.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"

namespace dissonance::cli {

class ActivationFolder {
 public:
  // Makes the folder if it is missing. FAILED_PRECONDITION if it holds
  // anything; an error too if files can't be written there. A shard ends with
  // the first request that brings it to `shard_bytes`.
  static absl::StatusOr<std::unique_ptr<ActivationFolder>> Create(
      const std::string& directory, int64_t shard_bytes);
  ~ActivationFolder();

  ActivationFolder(const ActivationFolder&) = delete;
  ActivationFolder& operator=(const ActivationFolder&) = delete;

  // As ActivationShard's. `inputs` are the request's.
  absl::Status Announce(const v1::ActivationRows& rows,
                        absl::Span<const InputRow> inputs);
  absl::Status Add(const v1::ActivationChunk& chunk);
  absl::Status Keep();
  absl::Status Drop();

  // Writes what is left, then `manifest` with row_count, dtype, shards [{file,
  // first_row, row_count, sha256}] and metadata's file and digest added.
  absl::Status Finish(nlohmann::json manifest);

  int64_t row_count() const { return row_count_; }
  int64_t byte_count() const { return byte_count_; }
  size_t shard_count() const { return shards_.size(); }
  const RowShapes& row_shapes() const { return shard_.row_shapes(); }

 private:
  ActivationFolder(std::string directory, bool made, int64_t shard_bytes,
                   ActivationShard shard, AtomicFile metadata);

  std::string Path(const std::string& file) const;
  // Its digest, of the file once it is in place.
  absl::StatusOr<std::string> Written(const std::string& file);
  absl::Status EndShard();

  const std::string directory_;
  const bool made_;  // whether the folder is ours to remove
  const int64_t shard_bytes_;
  ActivationShard shard_;
  AtomicFile metadata_;
  std::string pending_lines_;  // of metadata, since the last Keep
  int64_t pending_rows_ = 0;
  int64_t row_count_ = 0;
  int64_t byte_count_ = 0;
  nlohmann::json shards_ = nlohmann::json::array();
  std::vector<std::string> written_;  // paths, to remove unless finished
  bool finished_ = false;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_ACTIVATION_FOLDER_H_
