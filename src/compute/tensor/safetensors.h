// Safetensors files in and out, single or sharded. Reading is strict and
// memory mapped: whatever the safetensors library refuses is refused here, with
// file, tensor and reason, and no size claimed by a file is allocated before it
// is checked. Pickles (.pt, .bin) are recognised by content and never read.
//
// A loaded tensor borrows the mapping and keeps it alive, so it may outlive the
// file object; it must not be written to. All classes are immutable after Open
// and thread safe.
//
// Not covered: a file that is cut short or rewritten in place while tensors
// borrowed from it are in use (the system sends SIGBUS, or the numbers change).
// Open and Load never touch bytes that are not there; replace a file by rename.
//
//   ASSIGN_OR_RETURN(auto checkpoint, Checkpoint::Open("models/llama"));
//   ASSIGN_OR_RETURN(at::Tensor embed,
//                    checkpoint->Load("model.embed_tokens.weight"));
#ifndef DISSONANCE_COMPUTE_TENSOR_SAFETENSORS_H_
#define DISSONANCE_COMPUTE_TENSOR_SAFETENSORS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "src/base/digest_cache.h"

namespace dissonance {

// What a file says of one tensor.
struct TensorInfo {
  std::string dtype;           // as in the file: "F32", "BF16", "F8_E4M3", ...
  std::vector<int64_t> shape;  // empty: a single number
  uint64_t begin = 0;          // byte range, from the start of the file
  uint64_t end = 0;
};

using TensorMap = std::map<std::string, TensorInfo, std::less<>>;
using SafetensorsMetadata = std::map<std::string, std::string>;

// One .safetensors file.
class SafetensorsFile {
 public:
  // NOT_FOUND if there is no such file; INVALID_ARGUMENT if it is malformed,
  // is a pickle, or is not a regular file.
  static absl::StatusOr<std::shared_ptr<SafetensorsFile>> Open(
      const std::string& path);
  ~SafetensorsFile();

  const std::string& path() const { return path_; }
  // By name, sorted.
  const TensorMap& tensors() const { return tensors_; }
  // The "__metadata__" entry, empty without one.
  const SafetensorsMetadata& metadata() const { return metadata_; }

  // A read-only CPU tensor of the file's dtype. It borrows the mapping, except
  // where the file's layout leaves it unaligned: then it is a copy. NOT_FOUND
  // for an unknown name, UNIMPLEMENTED for a dtype that torch lacks,
  // FAILED_PRECONDITION if the file became shorter since Open.
  absl::StatusOr<at::Tensor> Load(absl::string_view name) const;

  // Bytes of the whole file, header included.
  uint64_t file_bytes() const { return file_bytes_; }

  // "sha256:..." of the contents, read anew at each call: of the file's bytes
  // up to 16 MiB, of larger files over the digests of their pieces of 16 MiB,
  // which several threads compute. With a cache, what that remembers.
  absl::StatusOr<std::string> Digest(DigestCache* cache = nullptr) const;

 private:
  struct Mapping;

  absl::StatusOr<std::string> ComputeDigest() const;
  absl::StatusOr<std::string> PieceDigest(uint64_t begin) const;

  SafetensorsFile() = default;
  absl::Status CheckLength() const;

  std::string path_;
  uint64_t file_bytes_ = 0;
  TensorMap tensors_;
  SafetensorsMetadata metadata_;
  std::shared_ptr<const Mapping> mapping_;
};

// A model directory's weights: model.safetensors, or else the shards that
// model.safetensors.index.json names.
class Checkpoint {
 public:
  // INVALID_ARGUMENT if a file is malformed, or if the index and the shards do
  // not name the same tensors in the same places; NOT_FOUND if the directory
  // has neither file, or a shard is missing.
  static absl::StatusOr<std::shared_ptr<Checkpoint>> Open(
      const std::string& directory);
  // Sorted.
  std::vector<std::string> names() const;
  bool Contains(absl::string_view name) const;
  // NOT_FOUND for an unknown name.
  absl::StatusOr<TensorInfo> Info(absl::string_view name) const;
  // As SafetensorsFile::Load.
  absl::StatusOr<at::Tensor> Load(absl::string_view name) const;
  // Bytes of all tensors.
  uint64_t TotalBytes() const;

  // "sha256:..." of the contents: for a single file its digest, for shards the
  // digest over the shards' digests in order of their names. The
  // same for equal files in any directory. Reads everything that the cache,
  // if there is one, does not remember.
  absl::StatusOr<std::string> Digest(DigestCache* cache = nullptr) const;

 private:
  Checkpoint() = default;
  absl::Status OpenShards(const std::string& directory);

  std::string directory_;
  std::vector<std::shared_ptr<SafetensorsFile>> files_;  // by name
  std::map<std::string, SafetensorsFile*, std::less<>> tensors_;
};

using NamedTensor = std::pair<std::string, at::Tensor>;
// Writes `path` atomically. The bytes depend on names, contents and metadata
// only: wide dtypes first, then by name, as the safetensors library writes
// them. One tensor at a time is copied to the CPU. INVALID_ARGUMENT for a
// repeated or reserved name, a name that is not UTF-8, or a dtype that the
// format lacks; RESOURCE_EXHAUSTED on a full disk.
absl::Status WriteSafetensors(const std::string& path,
                              absl::Span<const NamedTensor> tensors,
                              const SafetensorsMetadata& metadata = {});

// Writes a checkpoint of files of at most `max_shard_bytes` of tensor data each
// (a larger tensor gets its own): model.safetensors if one is enough, else
// model-00001-of-00003.safetensors, ... and, last, the index. ALREADY_EXISTS if
// `directory` holds a checkpoint.
absl::Status WriteShardedSafetensors(const std::string& directory,
                                     absl::Span<const NamedTensor> tensors,
                                     const SafetensorsMetadata& metadata,
                                     uint64_t max_shard_bytes);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TENSOR_SAFETENSORS_H_
