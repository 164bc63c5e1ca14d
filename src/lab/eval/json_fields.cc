#include "src/lab/eval/json_fields.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "src/base/status_macros.h"

namespace dissonance {

absl::Status JsonFields::Error(absl::string_view field,
                               absl::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat(where_, ": ", prefix_, field, ": ", what));
}

absl::Status JsonFields::WrongType(const std::string& field,
                                   absl::string_view expected,
                                   const nlohmann::json& found) const {
  return Error(field, absl::StrCat("expected ", expected, ", found ",
                                   found.type_name()));
}

bool JsonFields::Has(const std::string& field) const {
  const auto it = object_.find(field);
  return it != object_.end() && !it->is_null();
}

absl::StatusOr<const nlohmann::json*> JsonFields::Find(
    const std::string& field) const {
  const auto it = object_.find(field);
  if (it == object_.end()) return Error(field, "missing");
  return &*it;
}

absl::StatusOr<std::string> JsonFields::Text(const std::string& field) const {
  ASSIGN_OR_RETURN(const nlohmann::json* value, Find(field));
  if (!value->is_string()) return WrongType(field, "a string", *value);
  auto text = value->get<std::string>();
  if (absl::StripAsciiWhitespace(text).empty()) return Error(field, "empty");
  return text;
}

absl::StatusOr<std::optional<std::string>> JsonFields::OptionalText(
    const std::string& field) const {
  if (!Has(field)) return std::nullopt;
  ASSIGN_OR_RETURN(std::string text, Text(field));
  return text;
}

absl::StatusOr<double> JsonFields::Number(const std::string& field) const {
  ASSIGN_OR_RETURN(const nlohmann::json* value, Find(field));
  if (!value->is_number()) return WrongType(field, "a number", *value);
  return value->get<double>();
}

absl::StatusOr<bool> JsonFields::Bool(const std::string& field) const {
  ASSIGN_OR_RETURN(const nlohmann::json* value, Find(field));
  if (!value->is_boolean()) return WrongType(field, "true or false", *value);
  return value->get<bool>();
}

absl::StatusOr<int> JsonFields::Letter(const std::string& field) const {
  ASSIGN_OR_RETURN(std::string text, Text(field));
  const std::optional<int> option = McqOption(text);
  if (!option.has_value()) {
    return Error(field,
                 absl::StrCat("expected A, B, C or D, found \"", text, "\""));
  }
  return *option;
}

absl::StatusOr<std::optional<int>> JsonFields::OptionalLetter(
    const std::string& field) const {
  if (!Has(field)) return std::nullopt;
  ASSIGN_OR_RETURN(int option, Letter(field));
  return option;
}

absl::StatusOr<std::optional<std::string>> JsonFields::OptionalWorldLabel()
    const {
  ASSIGN_OR_RETURN(std::optional<std::string> label,
                   OptionalText("world_label"));
  if (label && *label != kTrueWorld && *label != kFalseWorld) {
    return Error("world_label",
                 absl::StrCat("expected \"true_world\", \"false_world\" or "
                              "null, found \"",
                              *label, "\""));
  }
  return label;
}

absl::StatusOr<JsonFields> JsonFields::Object(const std::string& field) const {
  ASSIGN_OR_RETURN(const nlohmann::json* value, Find(field));
  if (!value->is_object()) return WrongType(field, "an object", *value);
  return Within(*value, field);
}

JsonFields JsonFields::Within(const nlohmann::json& object,
                              absl::string_view field) const {
  return JsonFields(object, where_, absl::StrCat(prefix_, field, "."));
}

absl::StatusOr<JsonFields> JsonFields::Options(const std::string& field) const {
  ASSIGN_OR_RETURN(JsonFields options, Object(field));
  for (const auto& [letter, value] : options.object().items()) {
    if (!McqOption(letter).has_value()) {
      return options.Error(letter, "not an option; there are A, B, C and D");
    }
  }
  return options;
}

absl::StatusOr<PerOption> JsonFields::Numbers(const std::string& field) const {
  ASSIGN_OR_RETURN(JsonFields options, Options(field));
  PerOption numbers;
  for (int option = 0; option < kMcqOptionCount; ++option) {
    ASSIGN_OR_RETURN(numbers[option], options.Number(McqLetter(option)));
  }
  return numbers;
}

}  // namespace dissonance
