// Tensors from safetensors files: vectors of interventions, directions, weights
// of probes. Nothing that a file claims is allocated before it is checked.
// Functions are thread safe; a file is not.
//
//   ASSIGN_OR_RETURN(v1::Tensor vector,
//                    ReadTensor("direction.safetensors", /*name=*/""));
//   ASSIGN_OR_RETURN(TensorFile file, TensorFile::Parse(bytes, "probes"));
//   for (const std::string& name : file.names()) { ... file.Read(name) ... }
#ifndef DISSONANCE_LAB_TENSORS_SAFETENSORS_READER_H_
#define DISSONANCE_LAB_TENSORS_SAFETENSORS_READER_H_

#include <cstdint>
#include <istream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/common.pb.h"
#include "nlohmann/json.hpp"

namespace dissonance {

// Of one tensor, where nothing else is said.
inline constexpr uint64_t kTensorLimitBytes = 16 << 20;

// A file whose header was read. Owns the open file, or the bytes.
class TensorFile {
 public:
  // NOT_FOUND if there is no such file; INVALID_ARGUMENT, with file, for one
  // that is malformed.
  static absl::StatusOr<TensorFile> Open(const std::string& path);
  // The same for a file's bytes; `name` is what messages call it.
  static absl::StatusOr<TensorFile> Parse(std::string bytes, std::string name);

  // Sorted.
  std::vector<std::string> names() const;
  // What the file says beside its tensors; texts alone.
  const std::map<std::string, std::string>& metadata() const {
    return metadata_;
  }

  // The tensor `name`, or, if that is empty, the only one in the file. F32 and
  // F64 are kept; F16 and BF16 become float32, which holds each of their
  // numbers. NOT_FOUND if there is no such tensor; INVALID_ARGUMENT, with file
  // and tensor, if there are several of which none was named, or for one of
  // another type; RESOURCE_EXHAUSTED for one of more than `limit_bytes`.
  absl::StatusOr<v1::Tensor> Read(const std::string& name,
                                  uint64_t limit_bytes = kTensorLimitBytes);

 private:
  TensorFile(std::unique_ptr<std::istream> stream, std::string name)
      : stream_(std::move(stream)), name_(std::move(name)) {}
  // `size` is that of the file.
  absl::Status ReadHeader(uint64_t size);

  std::unique_ptr<std::istream> stream_;
  std::string name_;
  uint64_t data_begin_ = 0;
  uint64_t data_bytes_ = 0;
  nlohmann::json header_;  // without the metadata
  std::map<std::string, std::string> metadata_;
};

// TensorFile::Open, then Read.
absl::StatusOr<v1::Tensor> ReadTensor(const std::string& path,
                                      const std::string& name,
                                      uint64_t limit_bytes = kTensorLimitBytes);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_TENSORS_SAFETENSORS_READER_H_
