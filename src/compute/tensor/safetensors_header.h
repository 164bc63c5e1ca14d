// The header of a safetensors file: parsing with every check that needs no
// tensor data, and the format's dtype table. Internal to this folder; users
// want safetensors.h. Thread safe.
#ifndef DISSONANCE_COMPUTE_TENSOR_SAFETENSORS_HEADER_H_
#define DISSONANCE_COMPUTE_TENSOR_SAFETENSORS_HEADER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/compute/tensor/safetensors.h"

namespace dissonance {

// The library's own limit on the JSON text.
inline constexpr uint64_t kSafetensorsHeaderLimit = 100'000'000;

// What to do with weights that only exist as a pickle.
inline constexpr absl::string_view kPickleAdvice =
    "pickles can run code and are never read; convert it: python -c \"import "
    "sys, torch, safetensors.torch as s; s.save_file({k: v.contiguous() for "
    "k, v in torch.load(sys.argv[1], weights_only=True).items()}, "
    "sys.argv[2])\" IN.bin OUT.safetensors";

// A dtype of the format.
struct SafetensorsDtype {
  absl::string_view name;
  int bits = 0;  // per element
  // The order in which the library lays tensors out: higher ranks first, so
  // that wide elements stay aligned.
  int rank = 0;
  std::optional<at::ScalarType> torch;  // unset: torch has no such type
};

// nullptr if there is none.
const SafetensorsDtype* FindSafetensorsDtype(absl::string_view name);
const SafetensorsDtype* FindSafetensorsDtype(at::ScalarType torch);

struct SafetensorsHeader {
  TensorMap tensors;
  SafetensorsMetadata metadata;
};

// Parses `json` and checks it against `data_bytes`, the size of what follows
// it: the tensors must cover the data from the first byte to the last, without
// gaps or overlaps, each with a range of exactly its size. The ranges of the
// result count from the start of the file. Memory is bounded by the text.
// INVALID_ARGUMENT with `path`, the tensor and the reason.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    absl::string_view json, uint64_t data_bytes, absl::string_view path);

// `name` in quotes, escaped and cut, for messages.
std::string QuoteTensorName(absl::string_view name);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TENSOR_SAFETENSORS_HEADER_H_
