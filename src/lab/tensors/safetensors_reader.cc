#include "src/lab/tensors/safetensors_reader.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little,
              "numbers are copied as they lie in memory");

// The safetensors library's.
constexpr uint64_t kHeaderLimitBytes = 100'000'000;
constexpr size_t kNamesShown = 10;
constexpr char kMetadataKey[] = "__metadata__";

// A tensor's entry of the header, checked.
struct Entry {
  std::string dtype;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // of its data, from the start of the file
  uint64_t bytes = 0;
};

// A name out of a file, as a message may have it.
std::string Printable(const std::string& name) {
  return absl::Utf8SafeCHexEscape(name);
}

absl::StatusOr<std::string> ReadBytes(std::istream& stream, uint64_t begin,
                                      uint64_t count) {
  std::string bytes(count, '\0');
  stream.seekg(static_cast<std::streamoff>(begin));
  stream.read(bytes.data(), static_cast<std::streamsize>(count));
  if (!stream) return absl::DataLossError("cannot be read to its end");
  return bytes;
}

template <typename T>
std::vector<T> NumbersIn(const std::string& bytes) {
  std::vector<T> numbers(bytes.size() / sizeof(T));
  bytes.copy(reinterpret_cast<char*>(numbers.data()), bytes.size());
  return numbers;
}

// Opens a regular file and tells its size.
absl::StatusOr<std::unique_ptr<std::istream>> OpenStream(
    const std::string& path, uint64_t& size) {
  std::error_code error;
  const auto type = std::filesystem::status(path, error).type();
  if (type == std::filesystem::file_type::not_found) {
    return absl::NotFoundError("no such file");
  }
  if (type != std::filesystem::file_type::regular) {
    return absl::InvalidArgumentError("not a regular file");
  }
  auto stream = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!*stream) return absl::PermissionDeniedError("cannot be opened");
  size = std::filesystem::file_size(path, error);
  if (error) size = 0;
  return stream;
}

// The texts among the entries of `__metadata__`.
std::map<std::string, std::string> TextsIn(const Json& metadata) {
  std::map<std::string, std::string> texts;
  if (!metadata.is_object()) return texts;
  for (const auto& [key, value] : metadata.items()) {
    if (value.is_string()) texts[key] = value.get<std::string>();
  }
  return texts;
}

// The name that is meant, which is in the header.
absl::StatusOr<std::string> ChooseTensor(const Json& header,
                                         const std::string& name,
                                         const std::string& path) {
  if (header.contains(name)) return name;
  if (header.empty()) return absl::InvalidArgumentError("holds no tensors");
  if (name.empty() && header.size() == 1) return header.begin().key();
  std::vector<std::string> names;
  for (const auto& [each, entry] : header.items()) {
    if (names.size() < kNamesShown) names.push_back(Printable(each));
  }
  const std::string held =
      absl::StrCat("it holds ", absl::StrJoin(names, ", "),
                   header.size() > names.size() ? ", ..." : "");
  if (name.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("name one of its ", header.size(), " tensors, as in ",
                     path, ":", names.front(), "; ", held));
  }
  return absl::NotFoundError(absl::StrCat("no such tensor; ", held));
}

// A list of whole numbers from 0 to 2^62.
std::optional<std::vector<int64_t>> SizesOf(const Json& entry,
                                            const char* key) {
  if (!entry.is_object() || !entry.contains(key) || !entry[key].is_array()) {
    return std::nullopt;
  }
  std::vector<int64_t> sizes;
  for (const Json& each : entry[key]) {
    if (!each.is_number_unsigned() || each.get<uint64_t>() > uint64_t{1}
                                                                 << 62) {
      return std::nullopt;
    }
    sizes.push_back(each.get<int64_t>());
  }
  return sizes;
}

uint64_t ElementBytes(const std::string& dtype) {
  if (dtype == "F64") return 8;
  if (dtype == "F32") return 4;
  if (dtype == "F16" || dtype == "BF16") return 2;
  return 0;
}

absl::StatusOr<Entry> CheckEntry(const Json& json, uint64_t data_begin,
                                 uint64_t data_bytes, uint64_t limit_bytes) {
  const auto shape = SizesOf(json, "shape");
  const auto offsets = SizesOf(json, "data_offsets");
  if (!shape.has_value() || !offsets.has_value() || offsets->size() != 2 ||
      !json.contains("dtype") || !json["dtype"].is_string()) {
    return absl::InvalidArgumentError(
        "the header does not give dtype, shape and data_offsets");
  }
  Entry entry{json["dtype"].get<std::string>(), *shape};
  uint64_t bytes = ElementBytes(entry.dtype);
  if (bytes == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("has type ", Printable(entry.dtype),
                     "; convert it to one of F32, F64, F16 and BF16"));
  }
  for (const int64_t size : entry.shape) {
    if (size < 1) return absl::InvalidArgumentError("holds no numbers");
    if (bytes > limit_bytes / static_cast<uint64_t>(size)) {
      return absl::ResourceExhaustedError(
          absl::StrCat("has shape [", absl::StrJoin(entry.shape, ", "),
                       "], larger than the limit of ", limit_bytes, " bytes"));
    }
    bytes *= static_cast<uint64_t>(size);
  }
  const auto begin = static_cast<uint64_t>(offsets->front());
  const auto end = static_cast<uint64_t>(offsets->back());
  if (end > data_bytes || begin > end || end - begin != bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "data_offsets [", begin, ", ", end, "] are not the ", bytes,
        " bytes that its shape and type ask for, within the ", data_bytes,
        " bytes that follow the header; copy the file again"));
  }
  entry.begin = data_begin + begin;
  entry.bytes = bytes;
  return entry;
}

float HalfToFloat(uint16_t half) {
  const int exponent = (half >> 10) & 0x1F;
  const int mantissa = half & 0x3FF;
  float value = 0;
  if (exponent == 31) {
    value = mantissa == 0 ? std::numeric_limits<float>::infinity()
                          : std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(mantissa), -24);
  } else {
    value = std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  }
  return (half & 0x8000) != 0 ? -value : value;
}

float Widen(uint16_t bits, bool is_bfloat16) {
  return is_bfloat16 ? std::bit_cast<float>(static_cast<uint32_t>(bits) << 16)
                     : HalfToFloat(bits);
}

void FillNumbers(const std::string& dtype, std::string bytes,
                 v1::Tensor& tensor) {
  tensor.set_dtype(dtype == "F64" ? v1::DTYPE_FLOAT64 : v1::DTYPE_FLOAT32);
  if (ElementBytes(dtype) > 2) {
    tensor.set_data(std::move(bytes));
    return;
  }
  std::vector<float> wide;
  for (const uint16_t bits : NumbersIn<uint16_t>(bytes)) {
    wide.push_back(Widen(bits, dtype == "BF16"));
  }
  tensor.set_data(wide.data(), wide.size() * sizeof(float));
}

}  // namespace

absl::Status TensorFile::ReadHeader(uint64_t size) {
  uint64_t header_bytes = 0;
  if (size >= sizeof(header_bytes)) {
    ASSIGN_OR_RETURN(const std::string length,
                     ReadBytes(*stream_, 0, sizeof(header_bytes)));
    header_bytes = NumbersIn<uint64_t>(length).front();
  }
  if (header_bytes < 2 || header_bytes > kHeaderLimitBytes ||
      header_bytes > size - sizeof(header_bytes)) {
    return absl::InvalidArgumentError(
        "not a safetensors file; write one with "
        "safetensors.torch.save_file({\"vector\": v}, FILE)");
  }
  data_begin_ = sizeof(header_bytes) + header_bytes;
  data_bytes_ = size - data_begin_;
  ASSIGN_OR_RETURN(const std::string text,
                   ReadBytes(*stream_, sizeof(header_bytes), header_bytes));
  ASSIGN_OR_RETURN(header_, ParseJson(text, "header"));
  if (!header_.is_object()) {
    return absl::InvalidArgumentError("header: not a JSON object");
  }
  if (header_.contains(kMetadataKey)) {
    metadata_ = TextsIn(header_[kMetadataKey]);
    header_.erase(kMetadataKey);
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorFile> TensorFile::Open(const std::string& path) {
  uint64_t size = 0;
  absl::StatusOr<std::unique_ptr<std::istream>> stream = OpenStream(path, size);
  if (!stream.ok()) return Annotate(stream.status(), path);
  TensorFile file(*std::move(stream), path);
  RETURN_IF_ERROR(Annotate(file.ReadHeader(size), path));
  return file;
}

absl::StatusOr<TensorFile> TensorFile::Parse(std::string bytes,
                                             std::string name) {
  const uint64_t size = bytes.size();
  TensorFile file(std::make_unique<std::istringstream>(std::move(bytes)),
                  std::move(name));
  RETURN_IF_ERROR(Annotate(file.ReadHeader(size), file.name_));
  return file;
}

std::vector<std::string> TensorFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : header_.items()) names.push_back(name);
  return names;
}

absl::StatusOr<v1::Tensor> TensorFile::Read(const std::string& name,
                                            uint64_t limit_bytes) {
  const absl::StatusOr<std::string> chosen = ChooseTensor(header_, name, name_);
  if (!chosen.ok()) {
    return Annotate(chosen.status(),
                    name.empty() ? name_ : absl::StrCat(name_, ":", name));
  }
  const std::string where = absl::StrCat(name_, ":", Printable(*chosen));
  const absl::StatusOr<Entry> entry =
      CheckEntry(header_[*chosen], data_begin_, data_bytes_, limit_bytes);
  if (!entry.ok()) return Annotate(entry.status(), where);
  absl::StatusOr<std::string> bytes =
      ReadBytes(*stream_, entry->begin, entry->bytes);
  if (!bytes.ok()) return Annotate(bytes.status(), where);
  v1::Tensor tensor;
  for (const int64_t size : entry->shape) tensor.add_shape(size);
  FillNumbers(entry->dtype, *std::move(bytes), tensor);
  return tensor;
}

absl::StatusOr<v1::Tensor> ReadTensor(const std::string& path,
                                      const std::string& name,
                                      uint64_t limit_bytes) {
  ASSIGN_OR_RETURN(TensorFile file, TensorFile::Open(path));
  return file.Read(name, limit_bytes);
}

}  // namespace dissonance
