// Reads the fields of one JSON object and says where a wrong one stands, as in
// "questions.jsonl:7: options.B: missing". Refers to the object, which must
// outlive it. Thread safe as far as the object is.
//
//   const JsonFields fields(line.value, "questions.jsonl:7");
//   ASSIGN_OR_RETURN(item.id, fields.Text("id"));
//   ASSIGN_OR_RETURN(JsonFields options, fields.Object("options"));
#ifndef DISSONANCE_LAB_EVAL_JSON_FIELDS_H_
#define DISSONANCE_LAB_EVAL_JSON_FIELDS_H_

#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "src/lab/eval/mcq_data.h"
#include "src/lab/eval/mcq_metrics.h"

namespace dissonance {

// All methods: INVALID_ARGUMENT if the field is missing or of another type.
// Those called Optional give nullopt if it is absent or null.
class JsonFields {
 public:
  JsonFields(const nlohmann::json& object, std::string where,
             std::string prefix = "")
      : object_(object), where_(std::move(where)), prefix_(std::move(prefix)) {}

  // INVALID_ARGUMENT "WHERE: FIELD: WHAT".
  absl::Status Error(absl::string_view field, absl::string_view what) const;

  const nlohmann::json& object() const { return object_; }
  bool Has(const std::string& field) const;

  // A string with more than white space in it.
  absl::StatusOr<std::string> Text(const std::string& field) const;
  absl::StatusOr<std::optional<std::string>> OptionalText(
      const std::string& field) const;
  absl::StatusOr<double> Number(const std::string& field) const;
  absl::StatusOr<bool> Bool(const std::string& field) const;
  // "A" to "D", as 0 to 3.
  absl::StatusOr<int> Letter(const std::string& field) const;
  absl::StatusOr<std::optional<int>> OptionalLetter(
      const std::string& field) const;
  // "true_world" or "false_world".
  absl::StatusOr<std::optional<std::string>> OptionalWorldLabel() const;
  absl::StatusOr<JsonFields> Object(const std::string& field) const;
  // An object inside this one, which messages call `field`.
  JsonFields Within(const nlohmann::json& object,
                    absl::string_view field) const;
  // An object whose fields are A to D, no others.
  absl::StatusOr<JsonFields> Options(const std::string& field) const;
  // Such an object with a number each.
  absl::StatusOr<PerOption> Numbers(const std::string& field) const;

 private:
  // The value, or INVALID_ARGUMENT if it is absent.
  absl::StatusOr<const nlohmann::json*> Find(const std::string& field) const;
  absl::Status WrongType(const std::string& field, absl::string_view expected,
                         const nlohmann::json& found) const;

  const nlohmann::json& object_;
  const std::string where_;
  const std::string prefix_;  // of the fields, as in "options."
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_JSON_FIELDS_H_
