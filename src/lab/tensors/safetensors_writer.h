// The head of a .safetensors file; the tensors' bytes follow it without gaps.
// Pure functions; thread safe.
//
//   RETURN_IF_ERROR(file.Append(SafetensorsHeader(
//       {{"direction", v1::DTYPE_FLOAT32, {128}}}, {{"site", "resid_post"}})));
//   RETURN_IF_ERROR(file.Append(bytes_of_direction));
#ifndef DISSONANCE_LAB_TENSORS_SAFETENSORS_WRITER_H_
#define DISSONANCE_LAB_TENSORS_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "dissonance/v1/common.pb.h"

namespace dissonance {

struct TensorEntry {
  std::string name;
  v1::DType dtype = v1::DTYPE_FLOAT32;
  std::vector<int64_t> shape;
};

// Bytes of one number; 0 for a type that tensors don't have.
int64_t ElementBytes(v1::DType dtype);

// Numbers in a tensor of this shape.
int64_t ElementCount(absl::Span<const int64_t> shape);

// What comes before the first tensor. REQUIRES: names differ, and ElementBytes
// of each type is not 0.
std::string SafetensorsHeader(
    const std::vector<TensorEntry>& tensors,
    const std::map<std::string, std::string>& metadata);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_TENSORS_SAFETENSORS_WRITER_H_
