// Typed reads of one JSON object's fields, with the first error kept, so that
// a long list of fields reads as a list. Not thread safe.
//
//   ConfigReader read(config, "config.json");
//   spec.d_model = read.Positive("hidden_size");
//   RETURN_IF_ERROR(read.status());
#ifndef DISSONANCE_COMPUTE_MODEL_CONFIG_READER_H_
#define DISSONANCE_COMPUTE_MODEL_CONFIG_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace dissonance {

class ConfigReader {
 public:
  // `object` must outlive the reader. `where` begins the messages.
  ConfigReader(const nlohmann::json& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  // OK, or the first error, naming where and which field: INVALID_ARGUMENT if
  // nothing else is said.
  const absl::Status& status() const { return status_; }

  // Whether the field is there and not null.
  bool Has(const char* key) const {
    const auto it = object_.find(key);
    return it != object_.end() && !it->is_null();
  }

  // A positive integer up to 2^31. Required, or with a default.
  int64_t Positive(const char* key) { return PositiveOr(key, std::nullopt); }
  int64_t PositiveOr(const char* key, std::optional<int64_t> fallback) {
    if (!Has(key)) return Missing(key, fallback);
    const nlohmann::json& value = object_.at(key);
    if (!value.is_number_integer() || value < 1 || value > (int64_t{1} << 31)) {
      return Fail(key, "a positive integer", int64_t{1});
    }
    return value.get<int64_t>();
  }

  // A finite positive number.
  double Number(const char* key) { return NumberOr(key, std::nullopt); }
  double NumberOr(const char* key, std::optional<double> fallback) {
    if (!Has(key)) return Missing(key, fallback);
    const nlohmann::json& value = object_.at(key);
    if (!value.is_number() || !(value.get<double>() > 0)) {
      return Fail(key, "a positive number", 1.0);
    }
    return value.get<double>();
  }

  // The fallback without the field, 0 for null.
  double NumberOrNull(const char* key, double fallback) {
    return object_.contains(key) ? NumberOr(key, 0.0) : fallback;
  }

  // Indices below `limit`; none without the field.
  std::vector<int64_t> IndicesOr(const char* key, int64_t limit) {
    if (!Has(key)) return {};
    const nlohmann::json& value = object_.at(key);
    const std::string expected =
        absl::StrCat("a list of indices below ", limit);
    if (!value.is_array()) return Fail(key, expected, std::vector<int64_t>{});
    std::vector<int64_t> indices;
    for (const nlohmann::json& index : value) {
      if (!index.is_number_integer() || index < 0 || index >= limit) {
        return Fail(key, expected, std::vector<int64_t>{});
      }
      indices.push_back(index.get<int64_t>());
    }
    return indices;
  }

  // UNIMPLEMENTED if the field is there with the other value.
  void RefuseUnless(const char* key, bool supported) {
    if (BoolOr(key, supported) == supported || !status_.ok()) return;
    status_ = absl::UnimplementedError(
        absl::StrCat(where_, ": \"", key, "\" = ", supported ? "false" : "true",
                     " is not supported"));
  }

  bool BoolOr(const char* key, bool fallback) {
    if (!Has(key)) return fallback;
    if (!object_.at(key).is_boolean()) return Fail(key, "true or false", false);
    return object_.at(key).get<bool>();
  }

  std::string StringOr(const char* key, std::string fallback) {
    if (!Has(key)) return fallback;
    if (!object_.at(key).is_string()) return Fail(key, "a string", fallback);
    return object_.at(key).get<std::string>();
  }

 private:
  template <typename T>
  T Missing(const char* key, std::optional<T> fallback) {
    return fallback.has_value() ? *fallback : Fail(key, "present", T{1});
  }

  template <typename T>
  T Fail(const char* key, absl::string_view expected, T value) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(
          absl::StrCat(where_, ": \"", key, "\" must be ", expected));
    }
    return value;
  }

  const nlohmann::json& object_;
  std::string where_;
  absl::Status status_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_CONFIG_READER_H_
