#include "src/compute/tensor/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/status_macros.h"
#include "src/base/utf8.h"

namespace dissonance {
namespace {

using Scalar = at::ScalarType;

constexpr size_t kNestingLimit = 128;
constexpr size_t kRankLimit = 64;
constexpr size_t kQuoteLimit = 200;

// Ranks follow the order of the library's own Dtype enumeration.
constexpr std::array<SafetensorsDtype, 22> kDtypes = {{
    {"BOOL", 8, 0, Scalar::Bool},
    {"F4", 4, 1, std::nullopt},
    {"F6_E2M3", 6, 2, std::nullopt},
    {"F6_E3M2", 6, 3, std::nullopt},
    {"U8", 8, 4, Scalar::Byte},
    {"I8", 8, 5, Scalar::Char},
    {"F8_E5M2", 8, 6, Scalar::Float8_e5m2},
    {"F8_E4M3", 8, 7, Scalar::Float8_e4m3fn},
    {"F8_E8M0", 8, 8, Scalar::Float8_e8m0fnu},
    {"F8_E4M3FNUZ", 8, 9, Scalar::Float8_e4m3fnuz},
    {"F8_E5M2FNUZ", 8, 10, Scalar::Float8_e5m2fnuz},
    {"I16", 16, 11, Scalar::Short},
    {"U16", 16, 12, Scalar::UInt16},
    {"F16", 16, 13, Scalar::Half},
    {"BF16", 16, 14, Scalar::BFloat16},
    {"I32", 32, 15, Scalar::Int},
    {"U32", 32, 16, Scalar::UInt32},
    {"F32", 32, 17, Scalar::Float},
    {"C64", 64, 18, Scalar::ComplexFloat},
    {"F64", 64, 19, Scalar::Double},
    {"I64", 64, 20, Scalar::Long},
    {"U64", 64, 21, Scalar::UInt64},
}};

// Fills a SafetensorsHeader from the parser's events, so that memory follows
// what the header means and not how deep or long its JSON is.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderHandler(SafetensorsHeader& header) : header_(header) {}

  // Why an event returned false.
  const std::string& error() const { return error_; }

  bool null() override {
    // The library reads a null __metadata__ as none.
    if (place_ == Place::kTop && key_ == kMetadataKey) return true;
    return OnOther("null");
  }
  bool boolean(bool /*value*/) override { return OnOther("a boolean"); }
  bool number_integer(number_integer_t value) override {
    return OnOther(absl::StrCat(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) return AddDimension(value);
    if (place_ == Place::kOffsets) {
      offsets_.push_back(value);
      if (offsets_.size() <= 2) return true;
      return FailEntry("data_offsets has more than two numbers");
    }
    return OnOther(absl::StrCat(value));
  }
  bool number_float(number_float_t /*value*/, const string_t& text) override {
    return OnOther(absl::StrCat(text.substr(0, 40)));
  }
  bool string(string_t& value) override;
  bool binary(binary_t& /*value*/) override { return OnOther("binary"); }
  bool key(string_t& value) override;
  bool start_object(std::size_t /*size*/) override;
  bool end_object() override;
  bool start_array(std::size_t /*size*/) override;
  bool end_array() override;
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::json::exception& /*error*/) override {
    return Fail(
        absl::StrCat("the header is not JSON (at its byte ", position, ")"));
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kEntry, kShape, kOffsets };
  static constexpr absl::string_view kMetadataKey = "__metadata__";

  bool Fail(std::string message) {
    error_ = std::move(message);
    return false;
  }
  bool FailEntry(absl::string_view message) {
    return Fail(absl::StrCat("tensor ", QuoteTensorName(key_), ": ", message));
  }
  // Any value that is not what its place asks for.
  bool OnOther(absl::string_view found);
  bool AddDimension(uint64_t value);
  bool EndEntry();
  bool EnterIgnored() {
    return ++ignored_depth_ < kNestingLimit ||
           Fail("the header is nested too deeply");
  }

  SafetensorsHeader& header_;
  std::string error_;
  Place place_ = Place::kStart;
  size_t ignored_depth_ = 0;  // inside a field that the format does not define
  bool has_metadata_ = false;
  std::string key_;           // last key of the top level
  std::string metadata_key_;  // last key inside __metadata__
  // The tensor entry being read.
  TensorInfo entry_;
  std::string field_;
  std::set<std::string> entry_fields_;
  std::vector<uint64_t> offsets_;
};

bool HeaderHandler::OnOther(absl::string_view found) {
  if (ignored_depth_ > 0) return true;
  switch (place_) {
    case Place::kStart:
      return Fail(absl::StrCat("the header is ", found, ", not an object"));
    case Place::kTop:
      if (key_ == kMetadataKey) {
        return Fail(absl::StrCat("__metadata__ is ", found, ", not an object"));
      }
      return FailEntry(absl::StrCat("is ", found, ", not an object"));
    case Place::kMetadata:
      return Fail(absl::StrCat("__metadata__: ", QuoteTensorName(metadata_key_),
                               " is ", found, ", not a string"));
    case Place::kShape:
      return FailEntry(absl::StrCat("shape[", entry_.shape.size(), "] is ",
                                    found, ", not a whole number from 0 on"));
    case Place::kOffsets:
      return FailEntry(absl::StrCat("data_offsets[", offsets_.size(), "] is ",
                                    found, ", not a whole number from 0 on"));
    case Place::kEntry:
      if (field_ == "dtype") {
        return FailEntry(absl::StrCat("dtype is ", found, ", not a string"));
      }
      if (field_ == "shape" || field_ == "data_offsets") {
        return FailEntry(
            absl::StrCat(field_, " is ", found, ", not a list of numbers"));
      }
      return true;
  }
  return Fail("unreachable");
}

bool HeaderHandler::string(string_t& value) {
  if (ignored_depth_ > 0) return true;
  if (place_ == Place::kMetadata) {
    header_.metadata.emplace(std::move(metadata_key_), std::move(value));
    return true;
  }
  if (place_ == Place::kEntry && field_ == "dtype") {
    if (FindSafetensorsDtype(value) == nullptr) {
      return FailEntry(absl::StrCat("unknown dtype ", QuoteTensorName(value)));
    }
    entry_.dtype = std::move(value);
    return true;
  }
  return OnOther("a string");
}

bool HeaderHandler::key(string_t& value) {
  if (ignored_depth_ > 0) return true;
  bool is_new = true;
  if (place_ == Place::kTop) {
    key_ = std::move(value);
    is_new = key_ == kMetadataKey ? !std::exchange(has_metadata_, true)
                                  : !header_.tensors.contains(key_);
    return is_new || FailEntry("the name appears twice");
  }
  if (place_ == Place::kMetadata) {
    metadata_key_ = std::move(value);
    return !header_.metadata.contains(metadata_key_) ||
           Fail(absl::StrCat("__metadata__: ", QuoteTensorName(metadata_key_),
                             " appears twice"));
  }
  field_ = std::move(value);
  return entry_fields_.insert(field_).second ||
         FailEntry(absl::StrCat(QuoteTensorName(field_), " appears twice"));
}

bool HeaderHandler::start_object(std::size_t /*size*/) {
  if (ignored_depth_ > 0) return EnterIgnored();
  switch (place_) {
    case Place::kStart:
      place_ = Place::kTop;
      return true;
    case Place::kTop:
      place_ = key_ == kMetadataKey ? Place::kMetadata : Place::kEntry;
      entry_ = {};
      entry_fields_.clear();
      offsets_.clear();
      return true;
    default:
      if (!OnOther("an object")) return false;
      return EnterIgnored();
  }
}

bool HeaderHandler::end_object() {
  if (ignored_depth_ > 0) {
    --ignored_depth_;
    return true;
  }
  if (place_ == Place::kTop) {
    place_ = Place::kStart;
    return true;
  }
  const bool is_entry = place_ == Place::kEntry;
  place_ = Place::kTop;
  return !is_entry || EndEntry();
}

bool HeaderHandler::start_array(std::size_t /*size*/) {
  if (ignored_depth_ > 0) return EnterIgnored();
  if (place_ == Place::kEntry && field_ == "shape") {
    place_ = Place::kShape;
    return true;
  }
  if (place_ == Place::kEntry && field_ == "data_offsets") {
    place_ = Place::kOffsets;
    return true;
  }
  if (!OnOther("a list")) return false;
  return EnterIgnored();
}

bool HeaderHandler::end_array() {
  if (ignored_depth_ > 0) {
    --ignored_depth_;
    return true;
  }
  const bool is_offsets = place_ == Place::kOffsets;
  place_ = Place::kEntry;
  return !is_offsets || offsets_.size() == 2 ||
         FailEntry("data_offsets has fewer than two numbers");
}

bool HeaderHandler::AddDimension(uint64_t value) {
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return FailEntry(absl::StrCat("shape[", entry_.shape.size(), "] is ", value,
                                  ", which no tensor can have"));
  }
  if (entry_.shape.size() == kRankLimit) {
    return FailEntry(
        absl::StrCat("shape has more than ", kRankLimit, " dimensions"));
  }
  entry_.shape.push_back(static_cast<int64_t>(value));
  return true;
}

bool HeaderHandler::EndEntry() {
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    if (!entry_fields_.contains(field)) {
      return FailEntry(absl::StrCat("has no ", field));
    }
  }
  entry_.begin = offsets_.at(0);
  entry_.end = offsets_.at(1);
  header_.tensors.emplace(key_, std::move(entry_));
  return true;
}

// Bytes that dtype and shape ask for; nullopt past 64 bits or where the last
// byte would be shared with the next tensor.
std::optional<uint64_t> BytesOf(const TensorInfo& info) {
  uint64_t bits = 1;
  for (const int64_t size : info.shape) {
    if (__builtin_mul_overflow(bits, static_cast<uint64_t>(size), &bits)) {
      return std::nullopt;
    }
  }
  const auto per_element =
      static_cast<uint64_t>(FindSafetensorsDtype(info.dtype)->bits);
  if (__builtin_mul_overflow(bits, per_element, &bits) || bits % 8 != 0) {
    return std::nullopt;
  }
  return bits / 8;
}

// Checks that `end` is where the next tensor begins, and the tensor itself.
absl::Status CheckPlace(absl::string_view name, const TensorInfo& info,
                        uint64_t end, uint64_t data_bytes) {
  const auto error = [name](absl::string_view reason) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", QuoteTensorName(name), ": ", reason));
  };
  if (info.begin > info.end) {
    return error(absl::StrCat("data_offsets [", info.begin, ", ", info.end,
                              "] end before they begin"));
  }
  if (info.begin < end) {
    return error(absl::StrCat("data_offsets [", info.begin, ", ", info.end,
                              "] overlap another tensor, which ends at ", end));
  }
  if (info.begin > end) {
    return error(absl::StrCat("bytes ", end, " to ", info.begin,
                              " of the data, before it, belong to no tensor"));
  }
  const std::optional<uint64_t> bytes = BytesOf(info);
  if (!bytes.has_value()) {
    return error(
        "the size that its shape and dtype ask for is too large, or "
        "not a whole number of bytes");
  }
  if (*bytes != info.end - info.begin) {
    return error(absl::StrCat("shape and dtype ask for ", *bytes,
                              " bytes, data_offsets hold ",
                              info.end - info.begin));
  }
  if (info.end > data_bytes) {
    return error(absl::StrCat("its data ends at byte ", info.end,
                              ", but the file has ", data_bytes,
                              " bytes of data; the file is incomplete, copy it "
                              "again"));
  }
  return absl::OkStatus();
}

absl::Status CheckLayout(const TensorMap& tensors, uint64_t data_bytes) {
  std::vector<const TensorMap::value_type*> by_place;
  by_place.reserve(tensors.size());
  for (const auto& entry : tensors) by_place.push_back(&entry);
  std::sort(by_place.begin(), by_place.end(), [](const auto* a, const auto* b) {
    return std::tie(a->second.begin, a->second.end, a->first) <
           std::tie(b->second.begin, b->second.end, b->first);
  });
  uint64_t end = 0;
  for (const auto* entry : by_place) {
    RETURN_IF_ERROR(CheckPlace(entry->first, entry->second, end, data_bytes));
    end = entry->second.end;
  }
  if (end != data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the last ", data_bytes - end,
                     " bytes of the file belong to no tensor"));
  }
  return absl::OkStatus();
}

}  // namespace

const SafetensorsDtype* FindSafetensorsDtype(absl::string_view name) {
  const auto* found = std::find_if(
      kDtypes.begin(), kDtypes.end(),
      [name](const SafetensorsDtype& dtype) { return dtype.name == name; });
  return found == kDtypes.end() ? nullptr : found;
}

const SafetensorsDtype* FindSafetensorsDtype(at::ScalarType torch) {
  const auto* found = std::find_if(
      kDtypes.begin(), kDtypes.end(),
      [torch](const SafetensorsDtype& dtype) { return dtype.torch == torch; });
  return found == kDtypes.end() ? nullptr : found;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    absl::string_view json, uint64_t data_bytes, absl::string_view path) {
  const auto error = [path](absl::string_view reason) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", reason));
  };
  if (const std::optional<size_t> at = FindInvalidUtf8(json)) {
    return error(
        absl::StrCat("the header is not UTF-8 (at its byte ", *at + 1, ")"));
  }
  // The parser takes NUL for the end of its input and skips a byte order mark.
  if (const size_t at = json.find('\0'); at != absl::string_view::npos) {
    return error(
        absl::StrCat("the header has a NUL byte (at its byte ", at + 1, ")"));
  }
  if (json.empty() || json.front() != '{') {
    return error("the header does not begin with '{'");
  }
  SafetensorsHeader header;
  HeaderHandler handler(header);
  if (!nlohmann::json::sax_parse(json, &handler)) return error(handler.error());
  if (absl::Status layout = CheckLayout(header.tensors, data_bytes);
      !layout.ok()) {
    return Annotate(layout, path);
  }
  const uint64_t data_begin = sizeof(uint64_t) + json.size();
  for (auto& [name, info] : header.tensors) {
    info.begin += data_begin;
    info.end += data_begin;
  }
  return header;
}

std::string QuoteTensorName(absl::string_view name) {
  const bool cut = name.size() > kQuoteLimit;
  while (cut && name.size() > kQuoteLimit - 4) name.remove_suffix(1);
  while (FindInvalidUtf8(name).has_value()) name.remove_suffix(1);
  return absl::StrCat("\"", absl::Utf8SafeCEscape(name), cut ? "..." : "",
                      "\"");
}

}  // namespace dissonance
