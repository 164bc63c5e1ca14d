#include "src/lab/tensors/safetensors_writer.h"

#include <functional>
#include <numeric>

#include "nlohmann/json.hpp"

namespace dissonance {
namespace {

constexpr size_t kAlignment = 8;

const char* DtypeName(v1::DType dtype) {
  switch (dtype) {
    case v1::DTYPE_BFLOAT16:
      return "BF16";
    case v1::DTYPE_FLOAT64:
      return "F64";
    default:
      return "F32";
  }
}

// Little-endian, as the format has it.
std::string LengthPrefix(uint64_t length) {
  std::string out;
  for (int byte = 0; byte < 8; ++byte) {
    out += static_cast<char>(length >> (8 * byte) & 0xFF);
  }
  return out;
}

}  // namespace

int64_t ElementBytes(v1::DType dtype) {
  switch (dtype) {
    case v1::DTYPE_BFLOAT16:
      return 2;
    case v1::DTYPE_FLOAT32:
      return 4;
    case v1::DTYPE_FLOAT64:
      return 8;
    default:
      return 0;
  }
}

int64_t ElementCount(absl::Span<const int64_t> shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1},
                         std::multiplies<>());
}

std::string SafetensorsHeader(
    const std::vector<TensorEntry>& tensors,
    const std::map<std::string, std::string>& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t begin = 0;
  for (const TensorEntry& tensor : tensors) {
    const int64_t end =
        begin + ElementCount(tensor.shape) * ElementBytes(tensor.dtype);
    header[tensor.name] = {{"dtype", DtypeName(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump();
  // The numbers are read in place, so they begin at a multiple of 8 bytes.
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  return LengthPrefix(text.size()) + text;
}

}  // namespace dissonance
