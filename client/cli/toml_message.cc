#include "client/cli/toml_message.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/proto_json.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string FieldsOf(const Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) {
    names.push_back(type.field(i)->name());
  }
  return absl::StrJoin(names, ", ");
}

// Sets a number or text, or adds it to a list.
template <typename T, typename Set, typename Add>
void Put(const TomlField& at, const T& value, Set set, Add add) {
  const Reflection& reflection = *at.message.GetReflection();
  if (at.field.is_repeated()) {
    (reflection.*add)(&at.message, &at.field, value);
  } else {
    (reflection.*set)(&at.message, &at.field, value);
  }
}

}  // namespace

absl::Status TomlError(absl::string_view file, const toml::parse_error& error) {
  const std::string what(error.description());
  // What the parser says of a text that does not end on its line.
  const bool is_open = absl::StrContains(what, "string") &&
                       (absl::StrContains(what, "control characters") ||
                        absl::StrContains(what, "end-of-file"));
  return absl::InvalidArgumentError(
      absl::StrCat(file, ":", error.source().begin.line, ": ", what,
                   is_open ? "; is a quote missing?" : ""));
}

absl::Status TomlMessages::Bad(const toml::node& node,
                               absl::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat(file_, ":", node.source().begin.line, ": ", what));
}

absl::Status TomlMessages::Read(const toml::table& table,
                                const std::string& path, Message& message,
                                const std::set<std::string>& skip) const {
  const Descriptor& type = *message.GetDescriptor();
  for (const auto& [key, value] : table) {
    const std::string name(key.str());
    if (skip.contains(name)) continue;
    const FieldDescriptor* field = type.FindFieldByName(name);
    if (field == nullptr || field->is_map()) {
      return Bad(
          value,
          absl::StrCat(path.empty() ? "" : absl::StrCat(path, ": "),
                       "there is no ", name, "; there are ", FieldsOf(type)));
    }
    const TomlField at = {message, *field,
                          absl::StrCat(path, path.empty() ? "" : ".", name)};
    RETURN_IF_ERROR(field->is_repeated() ? ReadList(value, at)
                                         : ReadField(value, at));
  }
  return absl::OkStatus();
}

absl::Status TomlMessages::ReadList(const toml::node& value,
                                    const TomlField& at) const {
  const toml::array* list = value.as_array();
  if (list == nullptr) {
    return Bad(value, absl::StrCat(at.path, " is a list: write [...]"));
  }
  int index = 0;
  for (const toml::node& each : *list) {
    RETURN_IF_ERROR(ReadField(
        each, {at.message, at.field, absl::StrCat(at.path, "[", index, "]")}));
    ++index;
  }
  return absl::OkStatus();
}

absl::Status TomlMessages::ReadField(const toml::node& value,
                                     const TomlField& at) const {
  ASSIGN_OR_RETURN(const bool is_taken, hook_(value, at));
  return is_taken ? absl::OkStatus() : ReadOne(value, at);
}

absl::Status TomlMessages::ReadOne(const toml::node& value,
                                   const TomlField& at) const {
  const Reflection& reflection = *at.message.GetReflection();
  switch (at.field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      const toml::table* table = value.as_table();
      if (table == nullptr) {
        return Bad(value, absl::StrCat(at.path, " is a table of ",
                                       FieldsOf(*at.field.message_type())));
      }
      Message* child = at.field.is_repeated()
                           ? reflection.AddMessage(&at.message, &at.field)
                           : reflection.MutableMessage(&at.message, &at.field);
      return Read(*table, at.path, *child);
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::optional<std::string> text = value.value_exact<std::string>();
      if (!text) return Bad(value, absl::StrCat(at.path, " is a text"));
      Put(at, *text, &Reflection::SetString, &Reflection::AddString);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      const std::optional<bool> flag = value.value_exact<bool>();
      if (!flag) return Bad(value, absl::StrCat(at.path, " is true or false"));
      Put(at, *flag, &Reflection::SetBool, &Reflection::AddBool);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_ENUM:
      return ReadEnum(value, at);
    default:
      return ReadNumber(value, at);
  }
}

absl::Status TomlMessages::ReadEnum(const toml::node& value,
                                    const TomlField& at) const {
  const std::optional<std::string> word = value.value_exact<std::string>();
  std::vector<std::string> words;
  const auto& type = *at.field.enum_type();
  for (int i = 0; i < type.value_count(); ++i) {
    const EnumValueDescriptor* each = type.value(i);
    if (each->number() == 0) continue;  // unspecified
    words.push_back(EnumWord(*each));
    if (word != words.back()) continue;
    Put(at, each, &Reflection::SetEnum, &Reflection::AddEnum);
    return absl::OkStatus();
  }
  return Bad(value,
             absl::StrCat(at.path, " is one of ", absl::StrJoin(words, ", ")));
}

absl::Status TomlMessages::ReadNumber(const toml::node& value,
                                      const TomlField& at) const {
  if (at.field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
    const std::optional<double> number = value.value<double>();
    if (!number || !value.is_number()) {
      return Bad(value, absl::StrCat(at.path, " is a number"));
    }
    Put(at, *number, &Reflection::SetDouble, &Reflection::AddDouble);
    return absl::OkStatus();
  }
  const std::optional<int64_t> number = value.value_exact<int64_t>();
  const bool is_small = at.field.cpp_type() == FieldDescriptor::CPPTYPE_INT32 &&
                        number &&
                        (*number > std::numeric_limits<int32_t>::max() ||
                         *number < std::numeric_limits<int32_t>::min());
  const bool is_unsigned =
      at.field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64;
  if (!number || is_small || (is_unsigned && *number < 0)) {
    return Bad(value, absl::StrCat(at.path, " is a whole number",
                                   is_unsigned ? " from 0" : ""));
  }
  switch (at.field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      Put(at, static_cast<int32_t>(*number), &Reflection::SetInt32,
          &Reflection::AddInt32);
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_INT64:
      Put(at, *number, &Reflection::SetInt64, &Reflection::AddInt64);
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_UINT64:
      Put(at, static_cast<uint64_t>(*number), &Reflection::SetUInt64,
          &Reflection::AddUInt64);
      return absl::OkStatus();
    default:
      return Bad(value, absl::StrCat(at.path, " can't be given in a file"));
  }
}

}  // namespace dissonance::cli
