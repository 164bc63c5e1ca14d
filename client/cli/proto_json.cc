#include "client/cli/proto_json.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/generated_enum_reflection.h"
#include "google/protobuf/timestamp.pb.h"
#include "src/base/sha256.h"

namespace dissonance::cli {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

nlohmann::json OfText(const FieldDescriptor* field, const std::string& text) {
  if (field->type() != FieldDescriptor::TYPE_BYTES) return text;
  // None, or left out by the server, as in lists: there is no digest to show.
  if (text.empty()) return nullptr;
  return {{"size_bytes", text.size()}, {"sha256", Sha256Of(text)}};
}

nlohmann::json OfSingle(const Message& message, const FieldDescriptor* field) {
  const Reflection& get = *message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return get.GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_INT64:
      return get.GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return get.GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return get.GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return FiniteOrNull(get.GetDouble(message, field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return FiniteOrNull(get.GetFloat(message, field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return get.GetBool(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumWord(*get.GetEnum(message, field));
    case FieldDescriptor::CPPTYPE_STRING:
      return OfText(field, get.GetString(message, field));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(get.GetMessage(message, field));
  }
  return nullptr;
}

nlohmann::json OfElement(const Message& message, const FieldDescriptor* field,
                         int index) {
  const Reflection& get = *message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return get.GetRepeatedInt32(message, field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return get.GetRepeatedInt64(message, field, index);
    case FieldDescriptor::CPPTYPE_UINT32:
      return get.GetRepeatedUInt32(message, field, index);
    case FieldDescriptor::CPPTYPE_UINT64:
      return get.GetRepeatedUInt64(message, field, index);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return FiniteOrNull(get.GetRepeatedDouble(message, field, index));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return FiniteOrNull(get.GetRepeatedFloat(message, field, index));
    case FieldDescriptor::CPPTYPE_BOOL:
      return get.GetRepeatedBool(message, field, index);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumWord(*get.GetRepeatedEnum(message, field, index));
    case FieldDescriptor::CPPTYPE_STRING:
      return OfText(field, get.GetRepeatedString(message, field, index));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(get.GetRepeatedMessage(message, field, index));
  }
  return nullptr;
}

// REQUIRES: a map with string keys and scalar values, as all of the API's are.
nlohmann::json OfMap(const Message& message, const FieldDescriptor* field) {
  nlohmann::json out = nlohmann::json::object();
  const Reflection& get = *message.GetReflection();
  for (int i = 0; i < get.FieldSize(message, field); ++i) {
    const Message& entry = get.GetRepeatedMessage(message, field, i);
    const std::string key = entry.GetReflection()->GetString(
        entry, field->message_type()->map_key());
    out[key] = OfSingle(entry, field->message_type()->map_value());
  }
  return out;
}

}  // namespace

nlohmann::json FiniteOrNull(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}

std::string EnumWord(const EnumValueDescriptor& value) {
  // The zero value is PREFIX_UNSPECIFIED by the API's rules.
  absl::string_view prefix = value.type()->value(0)->name();
  absl::ConsumeSuffix(&prefix, "UNSPECIFIED");
  absl::string_view name = value.name();
  absl::ConsumePrefix(&name, prefix);
  return absl::AsciiStrToLower(name);
}

nlohmann::json ToJson(const Message& message) {
  if (const auto* time =
          dynamic_cast<const google::protobuf::Timestamp*>(&message)) {
    return absl::FormatTime(absl::RFC3339_full,
                            absl::FromUnixSeconds(time->seconds()) +
                                absl::Nanoseconds(time->nanos()),
                            absl::UTCTimeZone());
  }
  if (const auto* span =
          dynamic_cast<const google::protobuf::Duration*>(&message)) {
    return static_cast<double>(span->seconds()) + span->nanos() * 1e-9;
  }
  nlohmann::json out = nlohmann::json::object();
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    const Reflection& get = *message.GetReflection();
    if (field->is_map()) {
      out[field->name()] = OfMap(message, field);
    } else if (field->is_repeated()) {
      nlohmann::json& list = out[field->name()] = nlohmann::json::array();
      for (int j = 0; j < get.FieldSize(message, field); ++j) {
        list.push_back(OfElement(message, field, j));
      }
    } else if (!field->has_presence() || get.HasField(message, field)) {
      out[field->name()] = OfSingle(message, field);
    } else if (field->real_containing_oneof() == nullptr) {
      out[field->name()] = nullptr;
    }
  }
  return out;
}

}  // namespace dissonance::cli
